"""Methods to be drawn: one backbone under several reducers and settings."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import nn

from atc.config import build
from atc.pictures import animation, figure
from atc.pictures.order import histories
from atc.pictures.photo import Photo
from atc.pictures.snapshots import snapshots
from atc.vit.reduced import ReducedViT

log = logging.getLogger(__name__)


class Method(NamedTuple):
    """One reducer with one setting of its schedule."""

    reducer: str  # its name in conf/reducer
    setting: str  # "keep rate 0.5", "t = 8"
    model: ReducedViT


def build_method(cfg: DictConfig, vit: nn.Module, reducer: str) -> Method:
    """`vit` under the reducer and schedule of conf/visualise.yaml, composed; ValueError if they do not go together."""
    torch.manual_seed(cfg.seed)
    parts = build.instantiate(cfg.reducer), build.instantiate(cfg.schedule)
    model = ReducedViT(vit, *parts, cfg.proportional_attention, cfg.size_weighted).eval()
    return Method(reducer, setting(cfg) if model.method.reduces else "", model)


def setting(cfg: DictConfig) -> str:
    """The setting of the schedule, in words."""
    if cfg.schedule.get("threshold") is not None:
        return f"threshold {cfg.schedule.threshold}"
    return f"keep rate {cfg.keep_rate}" if "keep_rate" in cfg.schedule else f"t = {cfg.t}"


def worth_switching_to(cfg: DictConfig, vit: nn.Module, reducer: str) -> Method | None:
    """The method, or None, said in the log, if it cannot show anything: for a page of all methods.

    That is the dense baseline, a method that does not work on this backbone, and one with weights of its own,
    which no training has set.
    """
    try:
        method = build_method(cfg, vit, reducer)
    except ValueError as error:
        log.info("%s is left out: %s", reducer, error)
        return None
    if any(True for _ in method.model.reducers.parameters()):
        log.info("%s is left out: it has weights to be trained; name it with reducer=%s", reducer, reducer)
        return None
    return method if method.model.method.reduces else None


def titles(methods: Sequence[Method]) -> list[str]:
    """In what the methods differ: reducer, setting, or both."""
    settings = {method.setting for method in methods if method.setting}
    names = {method.reducer for method in methods}
    if len(settings) < 2:
        return [method.reducer for method in methods]
    if len(names) < 2:
        return [method.setting for method in methods]
    return [f"{method.reducer}, {method.setting}" for method in methods]


@torch.no_grad()
def rows(photo: Photo, methods: Sequence[Method], looks: Sequence[Any]) -> list[figure.Row]:
    """A row for every method in every look."""
    found = []
    for title, method in zip(titles(methods), methods, strict=True):
        method.model(photo.seen)
        stages = snapshots(method.model.trace, 0)
        grid = method.model.host.grid(photo.seen)
        found += [figure.Row(title, photo.drawn, grid, stages, look) for look in looks]
    return found


def parts(photo: Photo, methods: Sequence[Method]) -> list[animation.Part]:
    """The order of merging of every method, to be animated side by side."""
    return [
        animation.Part(title, photo.drawn, histories(method.model, photo.seen)[0])
        for title, method in zip(titles(methods), methods, strict=True)
    ]
