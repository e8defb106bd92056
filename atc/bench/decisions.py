"""What a block of a diffusion model decides from its tokens, step by step, against libraries that can do the same."""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from atc.bench import baselines, record
from atc.bench import diffusion_options as options
from atc.bench.linkage import Watch
from atc.bench.options import LINKAGES
from atc.config import build
from atc.core import Stage, TokenView
from atc.cost.interleaved import interleave
from atc.cost.tokens import smooth
from atc.diffusion.merging import removed
from atc.ops.linkage import cosine_distance, labels, labels_from_features
from atc.ops.linkage.cosine import full_float32, normalised

_TILE = 512  # rows and columns of a part of the distances


def main(arguments: list[str]) -> None:
    """Run ``python -m atc.bench decisions``: print a table, write what was measured."""
    chosen = options.parsed("decisions", arguments)
    if reason := record.unmeasurable(chosen.device):
        options.decisions().error(reason)
    torch.set_num_threads(chosen.threads)
    watch = Watch(chosen.device, chosen.threads)
    keep = chosen.tokens - removed(chosen.tokens, chosen.keep_rate)
    candidates = steps(chosen, keep)
    with torch.inference_mode():
        timings = interleave(candidates, chosen.runs, watch.clock, watch.wait)
    rows: list[dict[str, object]] = [
        {
            "step": name,
            "tokens": chosen.tokens,
            "channels": chosen.channels,
            "keep": keep,
            "ms_least": round(1e3 * timing.least, 2),
            "ms_median": round(1e3 * timing.median, 2),
        }
        for name, timing in timings.items()
    ]
    if chosen.out is not None:
        record.write(chosen.out, {"device": chosen.device, "clock": watch.name, "runs": chosen.runs}, rows)
    found = Table(title=f"{chosen.tokens} tokens of {chosen.channels} channels, {keep} stay; {watch.name}")
    for heading in ("step", "least, ms", "median, ms"):
        found.add_column(heading, justify="right")
    for row in rows:
        found.add_row(str(row["step"]), f"{row['ms_least']}", f"{row['ms_median']}")
    Console(width=120).print(found)


def steps(chosen: argparse.Namespace, keep: int) -> dict[str, Callable[[], object]]:
    """Everything that is timed, by name; of one image."""
    x = smooth(1, chosen.tokens, chosen.channels).to(chosen.device)
    distance = cosine_distance(x)
    found: dict[str, Callable[[], object]] = {
        "distances": partial(cosine_distance, x),
        "distances, upper triangle in tiles": partial(by_triangle, x),
    }
    for method in LINKAGES:
        found[f"{method}: clustering"] = partial(labels, distance, keep, method)
        found[f"{method}: distances and clustering"] = partial(labels_from_features, x, keep, method)
        for name, cluster in baselines.single_thread_rivals().items():
            found[f"{method}: clustering, {name}"] = partial(cluster, distance, keep, method)
    rows = next(rows for rows in range(int(chosen.tokens**0.5), 0, -1) if chosen.tokens % rows == 0)
    grid = (rows, chosen.tokens // rows)
    view = TokenView(x, x, torch.ones_like(x[..., 0]), torch.arange(chosen.tokens)[None], grid, prefix=0)
    for reducer in ("tome_2d", "atc_average"):
        decide = build.find_reducer(reducer)(Stage(1, chosen.tokens, keep)).eval()
        found[f"{reducer}: the whole decision"] = partial(decide, view, keep)
    return found


def by_triangle(x: Tensor) -> Tensor:
    """The distances, of which only those on and above the diagonal are multiplied out."""
    with full_float32(x.device.type):
        unit = normalised(x)
        tokens = x.shape[1]
        found = unit.new_empty(len(x), tokens, tokens)
        for top in range(0, tokens, _TILE):
            rows = slice(top, top + _TILE)
            found[:, rows, top:] = torch.matmul(unit[:, rows], unit[:, top:].mT)
            found[:, top + _TILE :, rows] = found[:, rows, top + _TILE :].mT
        return found.mul_(-1).add_(1)
