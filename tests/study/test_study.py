"""The study of traced runs, against the authors' tables and against loops over images."""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atc.runs import traces
from atc.study import __main__ as command
from atc.study import depth, measures, proxy, similarity
from atc.study.measures import batches
from atc.study.measures.batches import clusterings_of_each, kept_of_each
from atc.study.measures.ranks import _of_each
from atc.study.runs import pairs, traced_runs
from tests.tracked import ROOT

pytest.importorskip("pyarrow")

GOLDEN = dict(np.load(ROOT / "tests" / "golden" / "study.npz"))
BLOCKS = (4, 7, 10)  # blocks 3, 6 and 9 of the authors', who count from 0
NAMES = {"evit": "evit", "kmedoids": "kmedoids", "sinkhorn": "sinkhorn", "ats": "ats"}


def trace_of(directory: Path, key: str) -> None:
    """Write the trace and the record of a run of the authors'."""
    method, rate = key.split("_")[0], float(key.rpartition("_")[2])
    kept = {b: GOLDEN.get(f"trace|{key}|Stage-{b - 1}|Kept_Token") for b in BLOCKS}
    maps = {b: GOLDEN.get(f"trace|{key}|Stage-{b - 1}|Assignment_Maps") for b in BLOCKS}
    columns: dict[str, np.ndarray] = {"image": np.arange(12, dtype=np.int32), "target": np.arange(12, dtype=np.int32)}
    for number, block in enumerate(BLOCKS):
        labels = np.full((12, 196), -1)
        if maps[block] is not None:
            before = [maps[one] for one in BLOCKS[: number + 1]]
            labels = np.stack([measures.compose([stage[i] for stage in before]) for i in range(12)])
            columns[f"tokens_{block}"] = np.array([len(set(row.tolist())) for row in maps[block]], np.uint16)
        columns[f"labels_{block}"] = traces.packed(labels)
        if kept[block] is not None:
            bits = np.zeros((12, 196), bool)
            for image in range(12):
                bits[image, [p for p in kept[block][image] if p != 255]] = True
            columns[f"kept_{block}"] = np.packbits(bits, axis=1)
            columns.setdefault(f"tokens_{block}", bits.sum(axis=1).astype(np.uint16))
    writer = traces.TraceWriter(directory / "trace", chunk=5)
    for rows in (slice(0, 3), slice(3, 8), slice(8, 12)):
        writer.add({name: values[rows] for name, values in columns.items()})
    run = {"reducer": method, "keep_rate": rate, "backbone": "small", "datamodule": "photographs"}
    known = {"kept": kept[4] is not None, "merges": maps[4] is not None, "cls_features": [], "run": run}
    writer.finish(images=12, grid=[14, 14], blocks=list(BLOCKS), depth=12, **known)
    record = {
        "score": "accuracy",
        "results": {"off_the_shelf": {"accuracy": 0.5 + rate / 10}, "gflops": {"dense": 1.0}},
    }
    (directory / "results.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    for key in GOLDEN["runs|key"]:
        trace_of(place / str(key), str(key))
    return place


@pytest.fixture(scope="module")
def runs(directory: Path):
    return traced_runs([directory])


def known(table: str, a: str, b: str) -> dict[str, float]:
    keys = [str(key) for key in GOLDEN["runs|key"]]
    rows = zip(GOLDEN[f"table|{table}|A"], GOLDEN[f"table|{table}|B"], GOLDEN[f"table|{table}|values"], strict=True)
    (found,) = [values for i, j, values in rows if (keys[i], keys[j]) == (a, b)]
    return dict(zip(map(str, GOLDEN[f"table|{table}|columns"]), found, strict=True))


def key_of(row: dict, side: str) -> str:
    return f"{row[f'method_{side}']}_small_patch16_224-3_6_9-_{row[f'keep_rate_{side}']}"


def test_kept_patches_along_keep_rate_are_the_authors(runs):
    rows = similarity.kept_patches(runs, "keep_rate")
    assert len(rows) == 3 * 3 * 2
    for row in rows:
        table = known("pruning_rates", key_of(row, "a"), key_of(row, "b"))
        name = {"iou": "IoU", "ioa": "IoA"}[row["measure"]]
        assert row["mean"] == pytest.approx(table[f"Stage-{row['block'] - 1}-Mean-{name}"], abs=1e-12)
        assert row["std"] == pytest.approx(table[f"Stage-{row['block'] - 1}-std-{name}"], abs=1e-12)
        assert 0 < row["chance"] < 1


def test_clusters_along_keep_rate_are_the_authors(runs):
    rows = similarity.merged_patches(runs, "keep_rate")
    assert len(rows) == 2 * 3 * 3
    for row in rows:
        table = known("cluster_rates", key_of(row, "a"), key_of(row, "b"))
        name = row["measure"].replace("nmi", "NMI")
        name = name if name == "NMI" else name.title()
        assert row["mean"] == pytest.approx(table[f"{name}-Stage-{row['block'] - 1}-Mean"], abs=1e-12)
        assert row["std"] == pytest.approx(table[f"{name}-Stage-{row['block'] - 1}-std"], abs=1e-12)


def test_methods_are_compared_both_ways(runs):
    rows = [row for row in similarity.kept_patches(runs, "method") if row["measure"] == "iou"]
    for row in rows:
        table = known("pruning_models", key_of(row, "a"), key_of(row, "b"))
        assert row["mean"] == pytest.approx(table[f"Stage-{row['block'] - 1}-Mean"], abs=1e-12)
    assert len(rows) == 3 * len(GOLDEN["table|pruning_models|A"])
    merged = similarity.merged_patches(runs, "method")
    assert len(merged) == 3 * 3 * len(GOLDEN["table|cluster_models|A"])
    exchanged = {"homogeneity": "completeness", "completeness": "homogeneity", "nmi": "nmi"}
    found = {}
    for row in merged:
        sides = [row[f"{part}_{side}"] for side in "ab" for part in ("method", "keep_rate")]
        found[*sides, row["block"], row["measure"]] = row
    for (*sides, block, measure), row in found.items():
        back = found[*sides[2:], *sides[:2], block, exchanged[measure]]
        assert row["mean"] == pytest.approx(back["mean"], abs=1e-12)


def test_depth_maps_are_the_authors(runs):
    for run in runs:
        key = f"{run.method}_small_patch16_224-3_6_9-_{run.keep_rate}"
        found = depth.patterns(run.trace)
        rates = np.array(found.rates)
        np.testing.assert_allclose(rates[:, 0], np.ravel(GOLDEN[f"stats|{key}|reduction_mean"]), atol=1e-12)
        np.testing.assert_allclose(rates[:, 1], np.ravel(GOLDEN[f"stats|{key}|reduction_std"]), atol=1e-12)
        if run.trace.kept:
            np.testing.assert_allclose(found.mean.ravel(), np.ravel(GOLDEN[f"stats|{key}|depth_map"]), atol=1e-12)
            np.testing.assert_allclose(found.std.ravel(), np.ravel(GOLDEN[f"stats|{key}|depth_map_std"]), atol=1e-9)
            np.testing.assert_allclose(found.overall, np.ravel(GOLDEN[f"stats|{key}|depth_mean_std"]), atol=1e-9)


def test_depth_by_loops():
    kept = [np.array([[True, True, False, True]]), np.array([[True, False, False, False]])]
    assert depth.depths(kept, (4, 7), 12).tolist() == [[12, 6, 3, 6]]


@pytest.mark.parametrize("most", [1, 100, 1 << 22])
def test_many_images_at_once_are_one_at_a_time(most, monkeypatch):
    monkeypatch.setattr(batches, "MOST_CELLS", most)
    draw = np.random.default_rng(0)
    true, predicted = draw.integers(9, size=(20, 30)), draw.integers(5, size=(20, 30))
    true[0], predicted[1], true[2], predicted[2], true[3, :9] = 3, 1, 0, 0, -1
    each = [measures.clusterings(*pair) for pair in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(np.transpose(clusterings_of_each(true, predicted)), each, atol=1e-12)
    a, b = draw.integers(2, size=(2, 20, 30)).astype(bool)
    a[0], b[:2] = False, False
    sets = [(np.flatnonzero(one), np.flatnonzero(other)) for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(kept_of_each(a, b)[0], [measures.iou(*pair) for pair in sets])
    np.testing.assert_allclose(kept_of_each(a, b)[1], [measures.ioa(*pair) for pair in sets])


def test_resamples_at_once_are_one_at_a_time():
    draw = np.random.default_rng(0)
    x, y = draw.integers(4, size=(2, 50, 7)).astype(float)
    x[0] = 2
    each = [measures.correlation(*pair)[0:3:2] for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(_of_each(x, y), each, atol=1e-12)


def test_every_axis_pairs_what_differs_in_it_alone(runs):
    dense = replace(runs[0], method="none", keep_rate=None, score=70.0)
    base = [replace(run, capacity="base", size=4.0) for run in runs]
    other = [replace(run, data_set="birds") for run in runs]
    every = [dense, *runs, *base, *other]
    for axis, differ in (("capacity", "capacity"), ("data_set", "data_set"), ("keep_rate", "keep_rate")):
        for a, b in pairs(every, axis):
            names = ("method", "keep_rate", "capacity", "data_set")
            assert [name for name in names if getattr(a, name) != getattr(b, name)] == [differ]
            assert axis != "capacity" or (a.capacity, b.capacity) == ("base", "small")
            assert axis != "keep_rate" or a.keep_rate > b.keep_rate
    anchored = [b for a, b in pairs(every, "method") if a is dense]
    assert len(anchored) == len(runs)
    assert similarity.depth_maps(every[1:], "data_set")
    assert not similarity.kept_patches(every[1:], "data_set")


def test_runs_of_other_images_are_not_compared(runs):
    a = replace(runs[0], trace=replace(runs[0].trace, images=11))
    with pytest.raises(ValueError, match="they have to be the same"):
        similarity.kept_patches([a, runs[1]], "keep_rate")


def test_proxies_by_loops():
    draw = np.random.default_rng(4)
    methods = ["topk", "evit", "ats", "kmedoids", "radial_l1"]
    rows = []
    for (i, a), (j, b), rate in itertools.product(enumerate(methods), enumerate(methods), (0.5, 0.9)):
        if a != b:
            about = {"axis": "method", "data_set_a": "x", "capacity_a": "tiny", "measure": "iou", "block": 4}
            scores = {"score_a": 70.0 - i * rate, "score_b": 70.0 - j * rate, "mean": draw.uniform()}
            rows.append(about | scores | {"method_a": a, "method_b": b, "keep_rate_a": rate, "keep_rate_b": rate})
    found = proxy.proxies(rows, "method", ["topk"], resamples=50)
    assert [(row["anchor"], row["keep_rate"], row["n"]) for row in found] == [("topk", 0.5, 4), ("topk", 0.9, 4)]
    for row in found:
        own = [one for one in rows if one["method_a"] == "topk" and one["keep_rate_b"] == row["keep_rate"]]
        expected = measures.correlation([o["score_a"] - o["score_b"] for o in own], [o["mean"] for o in own])
        assert (row["rho"], row["rho_p"], row["tau"], row["tau_p"], row["n"]) == expected
        assert row["rho_low"] <= row["rho"] <= row["rho_high"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["similarity", "--axis", "keep_rate"], "evit small photographs 0.9"),
        (["depth"], "kmedoids small photographs 0.5"),
        (["proxy", "--axis", "method", "--anchors", "kmedoids", "--resamples", "20"], "kmedoids"),
        (["all", "--resamples", "20"], "patterns_runs.json"),
    ],
)
def test_the_commands(directory: Path, tmp_path: Path, capsys, arguments, said):
    assert command.main([arguments[0], str(directory), *arguments[1:], "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert said in shown
    written = Path(shown.strip().splitlines()[-1])
    assert written.is_file()
    if written.suffix == ".json":
        json.loads(written.read_text())


def test_without_pyarrow_there_is_one_line(directory: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert command.main(["depth", str(directory)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'pip install "atc-toolkit[study]"' in line


def test_what_cannot_be_studied(directory: Path, tmp_path: Path, capsys):
    def said(*arguments: str) -> str:
        assert command.main(list(arguments)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "no run with a finished trace" in said("depth", str(tmp_path))
    assert "no such directory" in said("depth", str(tmp_path / "none"))
    assert "can be compared along capacity" in said("similarity", str(directory), "--axis", "capacity")
    assert "no proxies along method: anchors none" in said("proxy", str(directory), "--anchors", "none")
    trace_of(tmp_path / "copy", str(GOLDEN["runs|key"][0]))
    assert "are both evit small photographs 0.9" in said("depth", str(directory), str(tmp_path))
