"""What a model that another learns from shows it."""

from torch import Tensor

from atc.vit.reduced import ReducedViT


def logits_and_features(model: ReducedViT, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a teacher shows: its logits ``[B, classes]``, and its patch tokens ``[B, N, C]`` after the final norm."""
    stream = model.start(images)
    for number in range(1, model.depth + 1):
        stream.step(number)
    features = stream.features()
    size = stream.size if stream.reductions.made else None
    return model.pooled(features, size, stream.valid), features[:, model.prefix :]
