"""Whole reduction steps: keys in, merged tokens out, and their share of the dense model's forward pass.

Either at the paper's three stages, each of which keeps a share of the tokens, or at each of 12 blocks, which each
remove as many (``--every-block 16``).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from atc.bench import baselines, record
from atc.bench import options as command
from atc.bench.linkage import OURS, Watch
from atc.cost.interleaved import interleave
from atc.cost.tokens import smooth
from atc.ops.linkage import cosine_distance, labels, labels_from_features
from atc.ops.linkage.cosine import distance_of_units, full_float32, normalised
from atc.ops.merge import merge
from atc.ops.merge.plain import merge_plainly

Step = Callable[[], object]


def main(arguments: list[str]) -> None:
    """Run ``python -m atc.bench pipeline``: print a table, write what was measured.

    Args:
        arguments: of the command line, after "pipeline".
    """
    options = command.parsed("pipeline", arguments)
    if reason := record.unmeasurable(options.device):
        command.pipeline().error(reason)
    torch.set_num_threads(options.threads)
    watch = Watch(options.device, options.threads)
    with torch.inference_mode():
        forward = dense_forward(options.model, options.batch, options.device)
        dense = interleave({"dense": forward}, 3, watch.clock, watch.wait)["dense"].least
        if options.every_block:
            counts = every_block(options.tokens, options.every_block)
            rows = measure(options, counts, watch, dense, {"every_block": options.every_block})
        else:
            rows = []
            for rate in options.keep_rates:
                rows += measure(options, stages(options.tokens, rate), watch, dense, {"keep_rate": rate})
    settings = {
        "model": options.model,
        "batch": options.batch,
        "device": options.device,
        "clock": watch.name,
        "dense_ms_an_image": round(dense / options.batch * 1e3, 2),
    }
    if options.out is not None:
        record.write(options.out, settings, rows)
    Console(width=140).print(table(rows, settings))


def stages(tokens: int, rate: float) -> list[int]:
    """Tokens before the first of three stages and after each."""
    counts = [tokens]
    while len(counts) < 4:
        counts.append(max(1, int(counts[-1] * rate)))
    return counts


def every_block(tokens: int, fewer: int) -> list[int]:
    """Tokens before the first of twelve blocks and after each, as long as there are any to remove."""
    return [count for count in range(tokens, tokens - 13 * fewer, -fewer) if count > 0]


def measure(
    options: argparse.Namespace, counts: list[int], watch: Watch, dense: float, what: dict[str, object]
) -> list[dict[str, object]]:
    """A row a candidate: the sum over the steps from each count of tokens to the next, and how many it can do."""
    channels = {"deit_tiny": 192, "deit_small": 384, "deit_base": 768}[options.model]
    totals: dict[str, float] = {}
    done: Counter[str] = Counter()
    for number, (tokens, keep) in enumerate(pairwise(counts)):
        candidates = steps(options.batch, tokens, keep, channels, options.method, options.device, seed=number)
        for name, timing in interleave(candidates, options.runs, watch.clock, watch.wait).items():
            totals[name] = totals.get(name, 0.0) + timing.least
        done.update(list(candidates))
    return [
        {
            **what,
            "method": options.method,
            "candidate": name,
            "steps": f"{done[name]} of {len(counts) - 1}",
            "us_an_image": round(total / options.batch * 1e6, 1),
            "percent_of_dense": round(100 * total / dense, 3),
        }
        for name, total in totals.items()
    ]


def steps(batch: int, tokens: int, keep: int, channels: int, method: str, device: str, seed: int) -> dict[str, Step]:
    """What can stand at one step, and parts of ours."""
    keys = smooth(batch, tokens, 64, seed).to(device)
    x = torch.randn(batch, tokens, channels, generator=torch.Generator().manual_seed(seed)).to(device)
    size = torch.ones(batch, tokens, device=device)
    distance = cosine_distance(keys)
    found = labels(distance, keep, method)
    stream = torch.cat([x[:, :1], x], dim=1)  # with a CLS token, as a model has it
    half = stream.bfloat16()
    result: dict[str, Step] = {
        OURS: lambda: merged(stream, size, labels_from_features(keys, keep, method), keep),
        f"{OURS}: distances": lambda: cosine_distance(keys),
        f"{OURS}: distances, plain operators": lambda: plain_distance(keys),
        f"{OURS}: clustering": lambda: labels(distance, keep, method),
        f"{OURS}: distances and clustering": lambda: labels_from_features(keys, keep, method),
        f"{OURS}: merge": lambda: merged(stream, size, found, keep),
        f"{OURS}: merge, plain operators": lambda: merge_plainly(stream, found, keep, size, size, 1, True, 0.0, False),
        f"{OURS}: merge, bfloat16": lambda: merged(half, size, found, keep),
        "authors' code (scikit-learn)": partial(as_released, keys, x, size, keep, method, baselines.scikit_learn),
        "the same with SciPy": partial(as_released, keys, x, size, keep, method, baselines.scipy),
    }
    least = tokens - tokens // 2  # what ToMe leaves at least; off by one, it counts as the step
    if tokens > 1 and least <= keep + 1:
        match = partial(baselines.tome_match, keys, max(keep, least))
        result["ToMe"] = lambda: baselines.tome_merge(x, size.unsqueeze(-1), match())
    return result


def merged(stream: Tensor, size: Tensor, found: Tensor, keep: int) -> tuple[Tensor, Tensor | None]:
    """Means of each cluster weighted by size behind the CLS token, and the new sizes."""
    return merge(stream, found, keep, weight=size, size=size, prefix=1)


def plain_distance(keys: Tensor) -> Tensor:
    """The distances without a kernel of ours: unit vectors, a batched product and a subtraction."""
    with full_float32(keys.device.type):
        return distance_of_units(normalised(keys))


def as_released(
    keys: Tensor, x: Tensor, size: Tensor, keep: int, method: str, cluster: baselines.Cluster
) -> tuple[Tensor, Tensor]:
    """A step as the paper's authors compute it: clustering by image, and a scatter with repeated indices."""
    unit = keys / keys.norm(dim=-1, keepdim=True)
    found = torch.as_tensor(cluster(1 - unit @ unit.mT, keep, method), dtype=torch.int64, device=x.device)
    found = (found - found.amin(1, keepdim=True)).unsqueeze(-1)
    total = size.new_zeros(len(x), keep, 1).scatter_reduce(1, found, size.unsqueeze(-1), "sum")
    index = found.expand(-1, -1, x.shape[-1])
    merged = x.new_zeros(len(x), keep, x.shape[-1]).scatter_reduce(1, index, x * size.unsqueeze(-1), "sum")
    return merged / total, total


def dense_forward(name: str, batch: int, device: str) -> Step:
    """The unreduced model with random weights, on which the time does not depend; on a GPU compiled, in bfloat16."""
    import timm

    model = timm.create_model(f"{name}_patch16_224").eval().to(device)
    images = torch.randn(batch, 3, 224, 224, device=device)
    if device == "cpu":
        return lambda: model(images)
    compiled = torch.compile(model.bfloat16())
    halves = images.bfloat16()
    return lambda: compiled(halves)


def table(rows: list[dict[str, object]], settings: dict[str, object]) -> Table:
    """A line a step or part of one: milliseconds an image, and percent of the dense forward."""
    found = Table(
        title=f"Reduction steps, {settings['model']}, {settings['clock']}; "
        f"dense forward {settings['dense_ms_an_image']} ms an image"
    )
    for heading in (
        "every block" if "every_block" in rows[0] else "keep rate",
        "linkage",
        "candidate",
        "steps",
        "µs an image",
        "% of the dense forward",
    ):
        found.add_column(heading, justify="right")
    for row in rows:
        found.add_row(*(str(value) for value in row.values()))
    return found
