"""What a method does with tokens, found out by letting it do so."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
from torch import nn

import atc
from atc.core import Trace
from pages.method import Method

UNKNOWN = "–"


@functools.cache
def _small() -> nn.Module:
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(img_size=64, patch_size=8, embed_dim=24, num_heads=2, num_classes=2)
    return model.eval()


def kind(method: Method) -> str:
    """What a method does with tokens, in one or a few words.

    Args:
        method: the method.

    Returns:
        "merges", "prunes", "prunes and merges"; "merges softly" where tokens are shared out over several; "prunes,
        fuses the rest" where there is one more token for these; "skips blocks" where they pass a block by; "–" without
        reduction, or where the small model that it is tried on does not suit it.
    """
    if not method.cls.reduces:
        return UNKNOWN
    if method.cls.soft:
        return "merges softly"
    if method.cls.gates:
        return "skips blocks"
    if method.cls.extra:
        return "prunes, fuses the rest"
    try:
        trace = tried(method)
    except ValueError:
        return UNKNOWN
    prunes = any(bool((stage.labels < 0).any()) for stage in trace)
    groups = any(_shared(stage.labels) for stage in trace)
    return " and ".join([*["prunes"] * prunes, *["merges"] * groups]) or UNKNOWN


def tried(method: Method) -> Trace:
    """The trace of a method on a small model with weights that are random, and one image of noise."""
    blocks = [4] if method.cls.one_stage else [4, 7, 10]
    keep_rate, threshold = (None, 1.0) if method.cls.by_threshold else (0.7, None)
    with quiet():
        model = atc.wrap(_small(), method.name, keep_rate, blocks=blocks, threshold=threshold)
        try:
            with torch.inference_mode():
                model(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
            return model.trace
        finally:
            atc.unwrap(model)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what is said about counts that a method cannot reach: pages say it."""
    log = logging.getLogger("atc")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _shared(labels: torch.Tensor) -> bool:
    """Whether an output holds several tokens."""
    held = labels[labels >= 0]
    return bool(held.numel()) and int(held.bincount().max()) > 1
