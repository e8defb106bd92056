"""Runs compared image by image: what python -m atc.report compare shows."""

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atc.files import write_json, write_whole
from atc.report import escape, paired, tables
from atc.report.layout import Layout
from atc.report.paired import Paired
from atc.report.throughput import Lines
from atc.runs import predictions
from atc.runs.predictions import Predictions

COLUMNS = ("points", "difference", "95 % interval", "only this one right", "only the other right", "p", "p (Holm)")
CORRECT = (
    "Differences are in percentage points, on the same images. Intervals: bootstrap over images, {resamples:,} "
    "resamples, seed {seed}. p: McNemar's test, exact (binomial) and two-sided; corrected by Holm over the {pairs} of "
    "the table."
)
SCORES = (
    "Differences are of mAP in percentage points, on the same images. Intervals: bootstrap over images, on each of "
    "whose {resamples:,} resamples (seed {seed}) mAP is computed. p: twice the share of the resamples in which the "
    "better one is not better; corrected by Holm over the {pairs} of the table."
)


@dataclass(frozen=True)
class Pair:
    """Two runs compared.

    Attributes:
        run: what the one is called.
        against: what the other is called.
        points: the metric of the one, in percent.
        paired: the comparison.
        corrected: p after Holm's correction.
    """

    run: str
    against: str
    points: float
    paired: Paired
    corrected: float


@dataclass(frozen=True)
class Comparison:
    """Some runs compared image by image.

    Attributes:
        metric: "accuracy" or "map".
        images: how many images they share, which is all of each.
        pairs: in the order in which the runs were named.
        points: the metric of each run, in percent, by what it is called.
        settings: resamples and seed of the bootstrap.
    """

    metric: str
    images: int
    pairs: list[Pair]
    points: dict[str, float]
    settings: dict[str, int]

    def table(self) -> Lines:
        """What it shows."""
        said = SCORES if self.metric == "map" else CORRECT
        number = len(self.pairs)
        note = said.format(**self.settings, pairs=f"{number} pair" + "s" * (number > 1))
        shown = {(one.run, one.against): _texts(one) for one in self.pairs}
        first = self.pairs[0].against
        shown = {(first, ""): (f"{self.points[first]:.1f}", *[""] * (len(COLUMNS) - 1))} | shown
        heads = [(head if head != "points" else f"{self.metric}, %",) for head in COLUMNS]
        cells: dict[Any, Any] = {
            (row, head): text for row, texts in shown.items() for head, text in zip(heads, texts, strict=True)
        }
        rows: Any = list(shown)
        title = f"Paired over {self.images:,} images"
        layout = Layout(
            "compare", title, "table", (), (), ("run", "against"), ("measure",), points=(), unreachable=(), tuned=()
        )
        return Lines(layout, rows, list(heads), cells, [note])

    def values(self) -> list[dict[str, Any]]:
        """Every pair with its numbers, differences in percentage points."""
        return [
            {
                "run": one.run,
                "against": one.against,
                "metric": self.metric,
                "images": self.images,
                "run_percent": one.points,
                "against_percent": self.points[one.against],
                "difference": 100 * one.paired.difference,
                "low": 100 * one.paired.low,
                "high": 100 * one.paired.high,
                "gained": one.paired.gained,
                "lost": one.paired.lost,
                "p": one.paired.p,
                "p_holm": one.corrected,
                **self.settings,
            }
            for one in self.pairs
        ]

    def write(self, directory: Path) -> list[Path]:
        """Write compare.md, .tex, .csv and .json; the files."""
        table, rows = self.table(), self.values()
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(rows[0])
        lines.writerows([escape.csv(one) if isinstance(one, str) else one for one in row.values()] for row in rows)
        texts = {"md": tables.markdown(table), "tex": tables.latex(table), "csv": out.getvalue()}
        written = [write_whole(directory / f"compare.{suffix}", text) for suffix, text in texts.items()]
        return [*written, write_json(directory / "compare.json", rows, indent=1)]


def compare(
    places: Sequence[Path],
    *,
    all_pairs: bool = False,
    resamples: int = paired.RESAMPLES,
    seed: int = paired.SEED,
) -> Comparison:
    """Compare runs image by image.

    Args:
        places: run directories, or files of predictions.
        all_pairs: every run with every earlier one, in place of each with the first.
        resamples: of the bootstrap.
        seed: likewise.

    Returns:
        The comparison.

    Raises:
        ValueError: fewer than two runs, or runs that are not of the same images, targets and kind.
    """
    if len(places) < 2:
        raise ValueError(f"compare takes two runs or more, got {len(places)}: compare RUN RUN ...")
    if resamples < 1:
        raise ValueError(f"--resamples {resamples} must be 1 or more")
    if seed < 0:
        raise ValueError(f"--seed {seed} must be 0 or more")
    runs = [predictions.read(place) for place in places]
    for one in runs[1:]:
        _check_same(runs[0], one)
    names = _names(places, runs)
    metric = "accuracy" if runs[0].correct is not None else "map"
    points = {name: 100 * _score(one) for name, one in zip(names, runs, strict=True)}
    chosen = itertools.combinations(range(len(runs)), 2) if all_pairs else ((0, n) for n in range(1, len(runs)))
    found = [(n, first, _paired(runs[n], runs[first], resamples, seed)) for first, n in chosen]
    corrected = paired.holm([one.p for *_, one in found])
    pairs = [
        Pair(names[n], names[first], points[names[n]], one, p)
        for (n, first, one), p in zip(found, corrected, strict=True)
    ]
    return Comparison(metric, len(runs[0].images), pairs, points, {"resamples": resamples, "seed": seed})


def _check_same(first: Predictions, other: Predictions) -> None:
    if (first.correct is None) != (other.correct is None):
        raise ValueError(f"{first.file} and {other.file}: one has a class for each image, and the other several labels")
    if first.images != other.images:
        only = [sorted(set(a.images) - set(b.images)) for a, b in ((first, other), (other, first))]
        said = [f"{len(names):,} only in {one.file}" for names, one in zip(only, (first, other), strict=True) if names]
        raise ValueError(
            f"{first.file} and {other.file} are not of the same images: {', '.join(said)}, such as "
            f"{next(names[0] for names in only if names)}"
        )
    if not np.array_equal(first.targets, other.targets):
        raise ValueError(f"{first.file} and {other.file} are of the same images with other labels")


def _score(one: Predictions) -> float:
    if one.correct is not None:
        return float(one.correct.mean())
    assert one.scores is not None
    assert one.targets is not None
    once = np.ones((1, len(one.images)), dtype=np.int32)
    return float(paired.mean_average_precision(one.scores, one.targets, once)[0])


def _paired(one: Predictions, other: Predictions, resamples: int, seed: int) -> Paired:
    if one.correct is not None and other.correct is not None:
        return paired.of_correct(one.correct, other.correct, resamples, seed)
    assert one.scores is not None
    assert other.scores is not None
    return paired.of_scores(one.scores, other.scores, one.targets, resamples, seed)


def _names(places: Sequence[Path], runs: Sequence[Predictions]) -> list[str]:
    """What runs are called: by their method where that tells them apart, else with their path as well."""
    short = [_method(one.file) or str(place) for place, one in zip(places, runs, strict=True)]
    counts = Counter(short)
    names = [
        name if counts[name] == 1 else f"{name} ({place})" if name != str(place) else name
        for name, place in zip(short, places, strict=True)
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} is named twice: a run is compared with others")
    return names


def _method(file: Path) -> str | None:
    """Method and keep rate, or tokens removed, by the record beside a file of predictions."""
    if file.stem == f"{predictions.PREFIX}dense":
        return "no reduction"
    try:
        record = json.loads((file.parent / "results.json").read_text(encoding="utf-8"))
        return " ".join(filter(None, [str(record["reducer"]), _counts(str(record["schedule"]))]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _counts(schedule: str) -> str:
    """Of a schedule as records have it, "stages: keep_rate=0.5, blocks=[4, 7, 10]", how many tokens are left."""
    kind, _, settings = schedule.partition(": ")
    said = dict(part.split("=", 1) for part in settings.split(", ") if "=" in part)
    rate = settings.partition("keep_rate=")[2]
    if rate.startswith("["):
        return rate[: rate.index("]") + 1]
    return said.get("keep_rate") or f"{kind} t={said['t']}"


def _texts(one: Pair) -> tuple[str, ...]:
    found = one.paired
    interval = f"{_signed(found.low)} to {_signed(found.high)}"
    counts = ["" if count is None else f"{count:,}" for count in (found.gained, found.lost)]
    ps = ["<0.0001" if p < 1e-4 else f"{p:.4f}" for p in (found.p, one.corrected)]
    return (f"{one.points:.1f}", _signed(found.difference), interval, *counts, *ps)


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
