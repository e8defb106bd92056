"""The store of real runs in pandas and DuckDB, by the lines that atc.runs.store names."""

import json
import re
from pathlib import Path

import pytest

from atc import provenance, run
from atc.runs.identity import of_settings
from atc.runs.store import Store
from tests.harness.commands import composed

COLUMNS = {
    *("identity", "seed", "reducer", "backbone", "datamodule", "keep_rate", "status", "commit", "wall_time_s"),
    *("tokens_per_block", "results.off_the_shelf.accuracy", "results.gflops.reduced", "results.gflops.dense"),
    *("results.images_per_second.reduced", "machine.processor", "machine.gpus", "versions.torch", "versions.timm"),
    *("config.schedule.keep_rate", "config.seed"),
}


pytestmark = pytest.mark.xdist_group("stored")  # one process makes what all of them read


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two seeds and a second method."""
    directory = tmp_path_factory.mktemp("runs")
    for number, (reducer, seed) in enumerate((("random", 0), ("random", 1), ("tome", 0))):
        settings = [f"reducer={reducer}", f"seed={seed}", f"paths.store='{directory / 'store'}'"]
        run.evaluate(composed("evaluate", directory / str(number), *settings))
    return directory / "store"


def test_in_pandas(store: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="opening the store in pandas needs pandas")
    table = pandas.json_normalize([json.loads(file.read_text()) for file in store.glob("*.json")])
    assert set(table.columns) >= COLUMNS
    assert len(table) == 3
    assert table.identity.nunique() == 3
    assert sorted(table.loc[table.reducer == "random", "seed"]) == [0, 1]
    assert set(table["versions.torch"]) == {provenance.versions()["torch"]}
    assert set(table["machine.processor"]) == {provenance.processor()}
    assert (table["results.gflops.reduced"] < table["results.gflops.dense"]).all()
    assert (table["results.images_per_second.reduced"] > 0).all()
    assert (table.wall_time_s >= 0).all()
    assert list(table.loc[table.reducer == "tome", "tokens_per_block"]) == [[49] * 4 + [25] * 3 + [13] * 3 + [7] * 2]
    for record in Store(store).records():
        assert of_settings(dict(record.config)) == record.identity
        assert record.config["seed"] == record.seed


def test_in_duckdb(store: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="opening the store in DuckDB needs duckdb")
    source = f"read_json('{store}/*.json', union_by_name=true)"
    found = duckdb.sql(f"SELECT reducer, keep_rate, avg(results.off_the_shelf.accuracy) FROM {source} GROUP BY ALL")
    by_hand: dict[str, list[float]] = {}
    for record in Store(store).records():
        by_hand.setdefault(record.reducer, []).append(record.results["off_the_shelf"]["accuracy"])
    means = {reducer: sum(values) / len(values) for reducer, values in by_hand.items()}
    assert {reducer: mean for reducer, _, mean in found.fetchall()} == pytest.approx(means)
    assert {rate for _, rate, _ in found.fetchall()} == {0.5}
    columns = ", ".join(sorted(COLUMNS))
    assert len(duckdb.sql(f"SELECT {columns} FROM {source}").fetchall()) == 3


def test_in_python(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of docs/harness.md."""
    page = (Path(__file__).parents[2] / "docs" / "harness.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(from atc\.runs\.store .*?)^```", page, re.S | re.M)
    (store.parent / "runs").mkdir()
    (store.parent / "runs" / "store").symlink_to(store)
    monkeypatch.chdir(store.parent)
    exec(block, {})
    assert sorted(capsys.readouterr().out.splitlines()) == [
        *["random 0.5 finished None accuracy, %"] * 2,
        "tome 0.5 finished None accuracy, %",
    ]
