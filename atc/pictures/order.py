"""The order in which tokens merged: reductions taken apart into single steps."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atc.core import StageTrace, TokenView
from atc.ops.linkage import cosine_distance, dendrogram
from atc.pictures.regions import Labels
from atc.vit.reduced import ReducedViT


class Mark(NamedTuple):
    """The end of a stage."""

    block: int  # 1-based
    tokens: int  # patch tokens left
    steps: int  # steps up to here, from the first stage on


class History(NamedTuple):
    """All that happened to the tokens of one image.

    steps: [T, 2] patches, each the leader of its token: the token that the first leads is joined to the one that
    the second leads, and the second leads both; or it is pruned, where the second is -1. At first every patch
    leads its own token; the larger of two tokens keeps its leader.
    """

    grid: tuple[int, int]  # rows and columns of the source patches
    steps: Labels
    stages: tuple[Mark, ...]


@torch.no_grad()
def histories(model: ReducedViT, images: Tensor) -> list[History]:
    """Run the model on [B, 3, H, W] images and take every stage apart into steps, for each image.

    Tokens that end up in one are joined closest first, by agglomerative clustering of their keys. For ATC this
    is exactly its own order. For other merging methods, which decide all at once, it is the order of
    similarity (average linkage). Pruned tokens go first, from the least attended by CLS where the method looks
    at that, from the top left where it does not. A soft method is shown by the largest weight of each token.

    Raises:
        ValueError: tokens of the method pass single blocks by, and so come back.
    """
    if model.method.gates:
        raise ValueError(
            f"{model.method.__name__} lets tokens pass single blocks by, so that there is no order in which they go: "
            f"it is drawn in pictures, not in animations and interactive pages"
        )
    views: list[TokenView] = []
    hooks = [
        reducer.register_forward_pre_hook(lambda _, args: views.append(args[0])) for reducer in model.reducers.values()
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    linkages = [getattr(model.reducers[str(stage.block)], "linkage", "average") for stage in model.trace]
    found = []
    for image in range(len(images)):
        steps: list[Labels] = []
        marks: list[Mark] = []
        for view, stage, linkage in zip(views, model.trace, linkages, strict=True):
            steps.append(_steps(view, stage, image, linkage))
            marks.append(Mark(stage.block, stage.real(image), sum(map(len, steps))))
        grid = views[0].grid if views else _square(model)
        merges = np.concatenate([np.empty((0, 2), dtype=np.int64), *steps])
        found.append(History(grid, _by_leaders(merges, grid[0] * grid[1]), tuple(marks)))
    return found


def leaders(history: History, steps: int) -> Labels:
    """The patch [N0] that leads each patch's token after so many steps; -1 = pruned."""
    leader = np.arange(history.grid[0] * history.grid[1])
    for gone, into in history.steps[:steps]:
        leader[leader == gone] = into
    return leader


def replay(history: History, steps: int) -> Labels:
    """The source map [N0] after so many steps: tokens numbered by their first patch, -1 = pruned."""
    number: dict[int, int] = {}
    led = leaders(history, steps).tolist()
    return np.array([-1 if lead < 0 else number.setdefault(lead, len(number)) for lead in led], dtype=np.int64)


def moments(history: History, per_stage: int) -> list[int]:
    """Step counts that divide each stage into `per_stage` even parts: 0, ..., T; the same number for all methods."""
    ends = [mark.steps for mark in history.stages]
    parts = [np.linspace(a, b, per_stage + 1)[1:] for a, b in zip([0, *ends], ends, strict=False)]
    return [0, *np.concatenate([np.empty(0), *parts]).round().astype(int).tolist()]


def _steps(view: TokenView, stage: StageTrace, image: int, linkage: str) -> Labels:
    labels, source = stage.labels[image], view.source[image]
    patch = _first_patches(source, len(labels))
    dropped = ((labels < 0) & (patch >= 0)).nonzero().flatten()
    if view.cls_attn is not None:
        dropped = dropped[view.cls_attn[image].mean(0)[dropped].argsort()]
    kept = ((labels >= 0) & (patch >= 0)).nonzero().flatten()
    merges = _merges(view.keys[image, kept], labels[kept], linkage)
    pruned = torch.stack([patch[dropped], torch.full_like(dropped, -1)], dim=1)
    return torch.cat([pruned, patch[kept][merges]]).cpu().numpy()


def _merges(keys: Tensor, groups: Tensor, linkage: str) -> Tensor:
    """The merges [M, 2] of token positions, closest first, that leave one token for each value of `groups` [N].

    Infinitely far apart, members of different groups are never the closest pair; within groups nothing changes,
    so that groups made by this very linkage come about in their own order.
    """
    distance = cosine_distance(keys[None])[0]
    distance = torch.where(groups[:, None] == groups[None], distance, torch.inf)
    return dendrogram(distance[None], max(len(groups.unique()), 1), linkage).merges[0]


def _first_patches(source: Tensor, tokens: int) -> Tensor:
    """[N0] -> [N] the first patch each token holds; -1 for a token that is no patch's largest share."""
    patches = torch.arange(len(source), device=source.device)
    held = source >= 0
    first = torch.full((tokens,), len(source), device=source.device)
    first = first.scatter_reduce(0, source[held], patches[held], "amin")
    return torch.where(first < len(source), first, -1)


def _by_leaders(merges: Labels, patches: int) -> Labels:
    """Merges [T, 2] of tokens named by any of their patches -> the same named by leaders, the smaller token first."""
    leader, size = np.arange(patches), np.ones(patches, dtype=np.int64)
    steps = merges.copy()
    for step, (one, other) in enumerate(merges):
        gone, into = leader[one], leader[other] if other >= 0 else -1
        if into >= 0:
            if size[gone] > size[into]:
                gone, into = into, gone
            size[into] += size[gone]
        leader[leader == gone] = into
        steps[step] = gone, into
    return steps


def _square(model: ReducedViT) -> tuple[int, int]:
    embedding = getattr(model.host.model, "patch_embed", None)
    side = math.isqrt(model.host.num_patches)
    rows, columns = (side, side) if embedding is None else embedding.grid_size
    return int(rows), int(columns)
