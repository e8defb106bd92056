"""The order in which tokens merged: reductions taken apart into single steps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atc.analysis.regions import Labels
from atc.core import StageTrace, TokenView
from atc.ops.linkage import cosine_distance
from atc.ops.linkage.op import merge_in_order
from atc.vit.reduced import ReducedViT


class Mark(NamedTuple):
    """The end of a stage."""

    block: int  # 1-based
    tokens: int  # patch tokens left
    steps: int  # steps up to here, from the first stage on


class History(NamedTuple):
    """All that happened to the tokens of one image.

    steps: [T, 2] patches. The token that holds the first is joined to the token that holds the second, or is
    pruned where the second is -1.
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
    """
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
            marks.append(Mark(stage.block, stage.tokens_out, sum(map(len, steps))))
        grid = views[0].grid if views else _square(model)
        found.append(History(grid, np.concatenate([np.empty((0, 2), dtype=np.int64), *steps]), tuple(marks)))
    return found


def replay(history: History, steps: int) -> Labels:
    """The source map [N0] after so many steps: tokens numbered by their first patch, -1 = pruned."""
    parent = list(range(history.grid[0] * history.grid[1]))
    pruned = set()
    for gone, into in history.steps[:steps].tolist():
        if into < 0:
            pruned.add(_root(parent, gone))
        else:
            parent[_root(parent, gone)] = _root(parent, into)
    roots = [_root(parent, patch) for patch in range(len(parent))]
    number: dict[int, int] = {}
    return np.array([-1 if root in pruned else number.setdefault(root, len(number)) for root in roots], dtype=np.int64)


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
    merges, _ = merge_in_order(distance[None], max(len(groups.unique()), 1), linkage, None)
    return merges[0]


def _first_patches(source: Tensor, tokens: int) -> Tensor:
    """[N0] -> [N] the first patch each token holds; -1 for a token that is no patch's largest share."""
    patches = torch.arange(len(source), device=source.device)
    held = source >= 0
    first = torch.full((tokens,), len(source), device=source.device)
    first = first.scatter_reduce(0, source[held], patches[held], "amin")
    return torch.where(first < len(source), first, -1)


def _root(parent: Sequence[int], patch: int) -> int:
    while parent[patch] != patch:
        patch = parent[patch]
    return patch


def _square(model: ReducedViT) -> tuple[int, int]:
    rows, columns = model.vit.patch_embed.grid_size
    return int(rows), int(columns)
