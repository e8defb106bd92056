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


def check_alike(what: str, found: Tensor, wanted: Tensor) -> None:
    """Raise ValueError where what a teacher shows cannot be compared with what the model shows.

    Args:
        what: they are.
        found: those of the model.
        wanted: those of the teacher.
    """
    if found.shape != wanted.shape:
        raise ValueError(
            f"a teacher's {what} must be {list(found.shape)}, as the model's, got {list(wanted.shape)}: take a teacher "
            f"of the same classes, patches and channels"
        )
