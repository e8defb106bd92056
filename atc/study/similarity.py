"""How alike the patterns of pairs of runs are: one function per artefact, the axis is an argument."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atc.study import depth, measures
from atc.study.measures.batches import clusterings_of_each, kept_of_each
from atc.study.runs import Axis, Pair, TracedRun, check_same_images, pairs

Row = dict[str, Any]
CHANCE_IMAGES = 64  # images whose adjusted mutual information is computed: milliseconds for each


def kept_patches(runs: Sequence[TracedRun], axis: Axis) -> list[Row]:
    """IoU and IoA of kept patches, per pair and stage; beside each its expectation for random sets of those sizes.

    Args:
        runs: from `atc.study.runs.traced_runs`.
        axis: what the runs of a pair differ in.

    Returns:
        Rows with `axis`, what A and B are, `block`, `measure`, `mean` and `std` over images (ddof 0), `chance`, and
        the number of `images`.

    Raises:
        ValueError: two runs are not of the same images.
    """
    rows = []
    for a, b in _comparable(runs, axis, lambda run: run.trace.kept):
        for block_a, block_b in zip(a.trace.blocks, b.trace.blocks, strict=False):
            found: dict[str, list[NDArray[Any]]] = {"iou": [], "ioa": [], "iou chance": [], "ioa chance": []}
            columns = [f"kept_{block_a}"], [f"kept_{block_b}"]
            for one, other in zip(_columns(a, columns[0]), _columns(b, columns[1]), strict=True):
                first, second = one[columns[0][0]], other[columns[1][0]]
                iou, ioa = kept_of_each(first, second)
                sizes = list(zip(first.sum(axis=1).tolist(), second.sum(axis=1).tolist(), strict=True))
                found["iou"].append(iou)
                found["ioa"].append(ioa)
                for name, expected in (("iou", measures.expected_iou), ("ioa", measures.expected_ioa)):
                    found[f"{name} chance"].append(np.array([expected(*size, a.trace.patches) for size in sizes]))
            values = {name: np.concatenate(parts) for name, parts in found.items()}
            for name in ("iou", "ioa"):
                chance = float(values[f"{name} chance"].mean())
                rows.append(_row(axis, (a, b), block_b, name, values[name], chance=chance))
    return rows


def merged_patches(runs: Sequence[TracedRun], axis: Axis) -> list[Row]:
    """Homogeneity, completeness and NMI of clusters of patches, per pair and stage; and the adjusted information.

    True labels are those of B along keep_rate (the lower rate), else those of A.

    Args:
        runs: from `atc.study.runs.traced_runs`.
        axis: what the runs of a pair differ in.

    Returns:
        Rows as of `kept_patches`; that of measure "nmi" has as `adjusted` the mean adjusted mutual information of
        evenly spread images: 0 is chance.

    Raises:
        ValueError: two runs are not of the same images.
    """
    rows = []
    for a, b in _comparable(runs, axis, lambda run: run.trace.merges):
        true, predicted = (b, a) if axis == "keep_rate" else (a, b)
        for block_true, block_predicted in zip(true.trace.blocks, predicted.trace.blocks, strict=False):
            names = f"labels_{block_true}", f"labels_{block_predicted}"
            parts, adjusted, seen = [], [], 0
            step = max(1, a.trace.images // CHANCE_IMAGES)
            for one, other in zip(_columns(true, [names[0]]), _columns(predicted, [names[1]]), strict=True):
                first, second = one[names[0]], other[names[1]]
                parts.append(np.stack(clusterings_of_each(first, second)))
                chosen = [image for image in range(len(first)) if (seen + image) % step == 0]
                adjusted += [measures.adjusted_mutual_information(first[i], second[i]) for i in chosen]
                seen += len(first)
            values = np.concatenate(parts, axis=1)
            for name, value in zip(("homogeneity", "completeness", "nmi"), values, strict=True):
                more = {"adjusted": float(np.mean(adjusted))} if name == "nmi" else {}
                rows.append(_row(axis, (a, b), block_predicted, name, value, **more))
    return rows


def cls_features(runs: Sequence[TracedRun], axis: Axis) -> list[Row]:
    """The measures of CLS features, per pair and block; see `atc.study.measures.cls_features`.

    Args:
        runs: from `atc.study.runs.traced_runs`.
        axis: what the runs of a pair differ in.

    Returns:
        Rows as of `kept_patches`, with `mean` alone, and `enough`: whether there are more images than channels of both
        together, without which canonical correlations mean nothing.

    Raises:
        ValueError: two runs are not of the same images.
    """
    rows, known = [], dict[tuple[str, int], NDArray[Any]]()
    for a, b in _comparable(runs, axis, lambda run: bool(run.trace.cls_features)):
        for block in sorted(set(a.trace.cls_features) & set(b.trace.cls_features)):
            for run in (a, b):
                if (run.key, block) not in known:
                    known[run.key, block] = run.trace.whole(f"cls_{block}").T
            one, other = known[a.key, block], known[b.key, block]
            enough = a.trace.images > len(one) + len(other)
            for name, value in measures.cls_features(one, other).items():
                rows.append(_row(axis, (a, b), block, name, np.array([value]), enough=enough))
                rows[-1].update(std=None, images=a.trace.images)
    return rows


def depth_maps(runs: Sequence[TracedRun], axis: Axis) -> list[Row]:
    """The measures of mean depth maps, per pair; see `atc.study.measures.heat_maps`.

    Args:
        runs: from `atc.study.runs.traced_runs`.
        axis: what the runs of a pair differ in; along data_set the images are others.

    Returns:
        Rows as of `kept_patches`, with `mean` alone, and no block.
    """
    rows = []
    known: dict[str, NDArray[Any]] = {}
    for a, b in pairs(runs, axis):
        if not (a.trace.kept and b.trace.kept) or a.trace.grid != b.trace.grid:
            continue
        for run in (a, b):
            if run.key not in known:
                known[run.key] = depth.patterns(run.trace).mean
        for name, value in measures.heat_maps(known[a.key], known[b.key]).items():
            rows.append(_row(axis, (a, b), None, name, np.array([value])))
            rows[-1].update(std=None, images=min(a.trace.images, b.trace.images))
    return rows


def _comparable(runs: Sequence[TracedRun], axis: Axis, has: Any) -> Iterator[Pair]:
    """The pairs both runs of which have an artefact, and the same images."""
    if axis == "data_set":
        return
    for a, b in pairs(runs, axis):
        if has(a) and has(b):
            check_same_images(a, b)
            yield a, b


_PIECE = 256


def _columns(run: TracedRun, names: list[str]) -> Iterator[dict[str, NDArray[Any]]]:
    """Columns in pieces of equal length, whatever the parts are."""
    waiting: dict[str, NDArray[Any]] = {}
    for part in itertools.chain(run.trace.read(names), [None]):
        if part is not None:
            waiting = {name: np.concatenate([waiting[name], part[name]]) if waiting else part[name] for name in names}
        count = len(waiting[names[0]]) if waiting else 0
        whole = count if part is None else count - count % _PIECE
        for start in range(0, whole, _PIECE):
            yield {name: waiting[name][start : min(start + _PIECE, whole)] for name in names}
        waiting = {name: waiting[name][whole:] for name in names} if waiting else {}


def _row(axis: Axis, pair: Pair, block: int | None, measure: str, values: NDArray[Any], **more: Any) -> Row:
    sides = {
        f"{name}_{side}": getattr(run, name)
        for side, run in zip("ab", pair, strict=True)
        for name in ("method", "keep_rate", "capacity", "data_set", "score")
    }
    of_images = {"mean": float(np.mean(values)), "std": float(np.std(values)), "images": len(values), "chance": None}
    return {"axis": axis, **sides, "block": block, "measure": measure, **of_images, **more}
