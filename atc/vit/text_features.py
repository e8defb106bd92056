"""A classifier made of sentences: their features, averaged by class, and how similar an image's are to them.

Sentences of a class are encoded, normalised, averaged and normalised again, as CLIP's authors do.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

log = logging.getLogger(__name__)

Texts = Mapping[str, Sequence[str]]  # by class, in order
Tokens = dict[str, Tensor]
_AT_ONCE = 256  # sentences that are encoded together


class TextClassifier(nn.Module):
    """How similar an image is to each class: scale * cosine similarity to the class's text features, plus a bias.

    Args:
        text: ``[classes, C]`` text features of norm 1.
        scale: of the similarities, as the model has learned it.
        bias: added to all, for models that have one (SigLIP).
        projection: from what the image tower returns to the space of the text features; None where the tower does that.
    """

    text: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, text: Tensor, scale: Tensor, bias: Tensor | None = None, projection: nn.Module | None = None):
        super().__init__()
        self.projection = projection
        self.register_buffer("text", text.detach())
        self.register_buffer("scale", scale.detach().reshape(()))
        self.register_buffer("bias", torch.zeros_like(self.scale) if bias is None else bias.detach().reshape(()))

    def forward(self, features: Tensor) -> Tensor:
        """``[B, D]``, what the image tower returns -> ``[B, classes]``, in float32 at least, whatever the precision.

        Similarities differ in the third digit and are multiplied by 100.
        """
        if self.projection is not None:
            features = self.projection(features)
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            similarity = F.normalize(features.to(dtype), dim=-1) @ self.text.to(dtype).T
            return self.scale * similarity + self.bias


def check_length(name: str, sentence: str, tokens: int, limit: int) -> None:
    """Refuse a sentence that a text tower would cut.

    Args:
        name: of the model, for the message.
        sentence: the sentence.
        tokens: how many it has.
        limit: how many are read.

    Raises:
        ValueError: it has more.
    """
    if tokens > limit:
        shown = sentence if len(sentence) <= 60 else f"{sentence[:60]}..."
        raise ValueError(f"the sentence '{shown}' has more than the {limit} tokens that the text tower of {name} reads")


@torch.no_grad()
def text_features(
    model: nn.Module,
    texts: Texts,
    tokenize: Callable[[list[str]], Tokens],
    encode: Callable[..., Tensor],
    device: str | torch.device = "cpu",
) -> Tensor:
    """What a model makes of the sentences of each class.

    Args:
        model: the model, which is on the CPU.
        texts: the sentences of each class.
        tokenize: from sentences to tokens, tensors ``[n, L]`` by the names of arguments of `encode`.
        encode: from tokens to features ``[n, C]``.
        device: where to encode.

    Returns:
        ``[classes, C]``, float32 on the CPU, of norm 1: sentences are averaged by class after normalisation.

    Raises:
        ValueError: two classes have the same tokens, or features are not finite.
    """
    sentences, counts = [text for own in texts.values() for text in own], [len(own) for own in texts.values()]
    log.info("encoding %s sentences for %s classes", f"{len(sentences):,}", f"{len(texts):,}")
    tokens = tokenize(sentences)
    _check_different(list(texts), torch.split(next(iter(tokens.values())), counts))
    training = model.training
    model.eval().to(device)
    parts = [
        encode(**{key: value[at : at + _AT_ONCE].to(device) for key, value in tokens.items()})
        for at in range(0, len(sentences), _AT_ONCE)
    ]
    model.to("cpu").train(training)
    found = F.normalize(torch.cat(parts).float().cpu(), dim=-1)
    result = F.normalize(torch.stack([own.mean(dim=0) for own in torch.split(found, counts)]), dim=-1)
    broken = (~result.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise ValueError(f"the text features of {list(texts)[broken[0]]} are not finite: the weights are broken")
    return result


def _check_different(names: Sequence[str], ids: Sequence[Tensor]) -> None:
    """ValueError for classes whose sentences are the same to the model."""
    seen: dict[Any, str] = {}
    for name, own in zip(names, ids, strict=True):
        other = seen.setdefault(frozenset(map(tuple, own.tolist())), name)
        if other != name:
            raise ValueError(
                f"the sentences of the classes '{other}' and '{name}' have the same tokens, so that the model cannot "
                f"tell them apart: give other names, or a model whose tokenizer knows these words"
            )
