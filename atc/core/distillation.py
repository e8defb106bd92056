"""What methods compare with the outputs of a teacher."""

from torch import Tensor


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """The Kullback-Leibler divergence KL(softmax(wanted) || softmax(logits)) over the last dimension, in nats.

    Args:
        logits: ``[..., C]`` of the student.
        wanted: ``[..., C]`` of the teacher.

    Returns:
        ``[...]``.
    """
    target = wanted.log_softmax(dim=-1)
    return (target.exp() * (target - logits.log_softmax(dim=-1))).sum(dim=-1)


def exact(x: Tensor) -> Tensor:
    """Float64 as it is, anything else in float32."""
    return x if x.element_size() == 8 else x.float()
