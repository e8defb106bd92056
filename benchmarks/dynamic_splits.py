"""ATC up to a distance against ATC at a count, on images that its thresholds were not found on: dynamic_deit_tiny.json.

    python benchmarks/dynamic_splits.py IMAGENET WEIGHTS [FILE]

IMAGENET holds val/<class>/*.jpg, WEIGHTS are DeiT-Tiny's. Five times (seed 0), thresholds are found on 200 photographs
for the mean counts of each keep rate, and tested on all others in batches of 32, with one CPU thread. Costs are those
of the images tested: GFLOPs of blocks and distances, the mean of what each image costs by itself, and thread CPU time
of whole forwards, which clustering and packing are a part of; in the first split those of both methods take turns. The
pictures take 0.3 GB.
"""

import functools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atc import provenance
from atc.api import wrap
from atc.config import build
from atc.cost.flops import gflops_by_formula
from atc.files import json_text, write_whole
from atc.report.paired import holm, of_correct
from atc.vit.images import data_config
from atc.vit.reduced import ReducedViT
from atc.vit.thresholds import calibrate

RATES, SPLITS, KNOWN, BATCH = (0.25, 0.5, 0.7, 0.9), 5, 200, 32


def pictures(root: str, vit: nn.Module) -> tuple[Tensor, Tensor]:
    """All photographs as the network takes them, and their classes."""
    datamodule = build.instantiate(build.option("datamodule", "imagenet"), root=root, seed=0)
    datamodule.adapt(data_config(vit))
    datamodule.setup("test")
    every = datamodule.test_dataloader().dataset
    images, labels = (
        torch.empty(len(every), 3, 224, 224, dtype=torch.float16),
        torch.empty(len(every), dtype=torch.int64),
    )
    for number in range(len(every)):
        images[number], labels[number] = every[number][:2]
    return images, labels


def passed(images: Tensor) -> Iterator[Tensor]:
    """A pass over images, in batches."""
    for batch in images.split(BATCH):
        yield batch.float()


def cost(model: ReducedViT) -> float:
    """GFLOPs of the mean image of the latest forward, those of distances included."""
    width = model.host.blocks[0].attn.head_dim
    entering = [torch.full((len(model.trace[0].labels),), model.trace[0].tokens_in)]
    for stage in model.trace[:-1]:
        full = torch.full((len(stage.labels),), stage.tokens_out)
        entering.append(full if stage.count is None else stage.count)
    distances = sum(2 * width * float((tokens.double() ** 2).mean()) for tokens in entering)
    return gflops_by_formula(model) + distances / 1e9


def tested(models: dict[str, ReducedViT], images: Tensor) -> dict[str, dict[str, Any]]:
    """What each model says of images, and what that costs; batch by batch in turn."""
    found: dict[str, dict[str, Any]] = {
        name: {"said": [], "seconds": 0.0, "gflops": 0.0, "counts": []} for name in models
    }
    for batch in images.split(BATCH):
        for name, model in models.items():
            start = time.thread_time()
            logits = model(batch.float())
            one = found[name]
            one["seconds"] += time.thread_time() - start
            one["said"].append(logits.argmax(dim=1))
            one["gflops"] += cost(model) * len(batch)
            one["counts"].append(torch.tensor(model.trace.mean_tokens()) * len(batch))
    for one in found.values():
        one["said"] = torch.cat(one["said"])
        one["ms"], one["gflops"] = 1e3 * one.pop("seconds") / len(images), one["gflops"] / len(images)
        one["counts"] = (sum(one["counts"]) / len(images)).tolist()
    return found


def main(root: str, weights: str, file: Path) -> None:
    """Measure, and write after each split what is known."""
    torch.set_num_threads(1)
    vit = build.instantiate(build.option("backbone", "deit_tiny"), pretrained=False, checkpoint=weights).eval()
    images, labels = pictures(root, vit)
    drawn = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(images), generator=drawn) for _ in range(SPLITS)]
    static = {rate: wrap(vit, "atc_average", rate) for rate in RATES}
    right: dict[float, Tensor] = {}
    costs: dict[float, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for split, order in enumerate(orders):
        known, test = order[:KNOWN], order[KNOWN:]
        for rate in RATES:
            model = wrap(vit, "atc_average_dynamic", threshold=0.0)
            stages = calibrate(
                model,
                functools.partial(passed, images[known]),
                [count.keep for count in static[rate].stage_counts],
            )
            both = {"dynamic": model} | ({} if rate in right else {"static": static[rate]})
            found = tested(both, images[test])
            if "static" in found:
                right[rate] = torch.zeros(len(images), dtype=torch.bool)
                right[rate][test] = found["static"]["said"] == labels[test]
                right[rate][known] = tested({"static": static[rate]}, images[known])["static"]["said"] == labels[known]
                costs[rate] = {key: found["static"][key] for key in ("ms", "gflops")}
                costs[rate]["ms_dynamic"] = found["dynamic"]["ms"]
            ours, theirs = found["dynamic"]["said"] == labels[test], right[rate][test]
            paired = of_correct(ours.numpy(), theirs.numpy())
            rows.append(
                {
                    **{"split": split, "keep_rate": rate, "thresholds": [round(one.threshold, 5) for one in stages]},
                    "mean_counts": [round(count, 1) for count in found["dynamic"]["counts"]],
                    "static_counts": [count.keep for count in static[rate].stage_counts],
                    "dynamic": round(100 * float(ours.double().mean()), 3),
                    "static": round(100 * float(theirs.double().mean()), 3),
                    "gflops": round(found["dynamic"]["gflops"], 4),
                    "gflops_static": round(costs[rate]["gflops"], 4),
                    "difference": round(100 * paired.difference, 3),
                    "interval": [round(100 * end, 3) for end in (paired.low, paired.high)],
                    "gained": paired.gained,
                    "lost": paired.lost,
                    "p": paired.p,
                }
            )
            print(rows[-1], flush=True)
        write_whole(file, json_text({**about(len(images)), "summary": summary(rows, costs), "rows": rows}))


def summary(rows: list[dict[str, Any]], costs: dict[float, dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over splits, and the difference to ATC at a count of the same cost, between its neighbours."""
    found = []
    for rate in RATES:
        own = [row for row in rows if row["keep_rate"] == rate]
        mean = {key: float(np.mean([row[key] for row in own])) for key in ("dynamic", "static", "difference", "gflops")}
        at = {key: [costs[one][key] for one in RATES] for key in ("gflops", "ms")}
        accuracy = [float(np.mean([row["static"] for row in rows if row["keep_rate"] == one])) for one in RATES]
        equal = {key: float(np.interp(value, at[key], accuracy)) for key, value in
                 (("gflops", mean["gflops"]), ("ms", costs[rate]["ms_dynamic"]))}  # fmt: skip
        found.append(
            {
                **{"keep_rate": rate, **{key: round(value, 3) for key, value in mean.items()}},
                "std_over_splits": round(float(np.std([row["difference"] for row in own])), 3),
                **{key: round(value, 3) for key, value in costs[rate].items() if key != "gflops"},
                "gflops_static": round(costs[rate]["gflops"], 3),
                **{f"difference_at_equal_{key}": round(mean["dynamic"] - value, 3) for key, value in equal.items()},
                "p_by_split": [round(p, 4) for p in (row["p"] for row in own)],
                "p_by_split_holm": [round(p, 4) for p in holm([row["p"] for row in own])],
            }
        )
    return found


def about(images: int) -> dict[str, Any]:
    """What was measured, and on what."""
    return {
        **{"benchmark": "dynamic_splits", "backbone": "deit_tiny", "images": images, "known": KNOWN, "seed": 0},
        **{"batch": BATCH, "threads": 1, "clock": "thread CPU time", "torch": torch.__version__},
        "machine": provenance.machine(),
    }


if __name__ == "__main__":
    with torch.inference_mode():
        main(sys.argv[1], sys.argv[2], Path(sys.argv[3] if len(sys.argv) > 3 else "benchmarks/dynamic_deit_tiny.json"))
