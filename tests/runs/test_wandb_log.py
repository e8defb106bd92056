"""What logger=wandb leaves, offline: read back from the files that `wandb sync` would upload."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from atc import run
from atc.core.metric import Metric
from atc.report import wandb_source
from atc.runs import wandb_log
from atc.runs.record import Record
from tests.harness.commands import TINY, command, composed
from tests.report import wandb_files

pytest.importorskip("wandb")
pytestmark = pytest.mark.xdist_group("logged")  # one process makes what all of them read


@pytest.fixture(scope="module", autouse=True)
def _nothing_at_home(tmp_path_factory: pytest.TempPathFactory):
    """W&B copies artifacts to a place of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp("wandb")))
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, _nothing_at_home) -> list[tuple[Path, wandb_files.Written]]:
    """Two runs of one process, with their directories: one reduces tokens, the other does not."""
    folder = tmp_path_factory.mktemp("runs")
    settings = ["logger=wandb", "trainer.log_every_n_steps=2", "callbacks.gallery.images=3", "+sweep=both"]
    done = command("train.py", "-m", *TINY, "reducer=atc_single,none", *settings, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    directories = sorted(folder.glob("runs/train_sweep/*/[01]"))
    assert len(directories) == 2
    found = []
    for directory in directories:
        (one,) = directory.glob("wandb/offline-run-*")
        found.append((directory, wandb_files.read(one)))
    return found


def series(written: wandb_files.Written, key: str) -> list[float]:
    return [row[key] for row in written.history if key in row]


def test_the_configuration(runs) -> None:
    for directory, written in runs:
        saved = OmegaConf.to_container(OmegaConf.load(directory / "config.yaml"))
        assert {key: written.config[key] for key in saved} == saved
        assert written.config["output_dir"] == str(directory)
    assert [written.config["choices"]["reducer"] for _, written in runs] == ["atc_single", "none"]


def test_metrics_by_step_and_by_epoch(runs) -> None:
    for directory, written in runs:
        steps = [row["trainer/global_step"] for row in written.history if "train/loss" in row]
        assert steps == [1, 3, 5]  # of six updates
        assert len(series(written, "train/lr")) == 3
        validated = [row["epoch"] for row in written.history if "val/accuracy" in row]
        assert validated == [0, 1]
        results = json.loads((directory / "results.json").read_text())["results"]
        for test in {"dense", "off_the_shelf", "fine_tuned"} & set(results):
            assert series(written, f"{test}/accuracy") == [pytest.approx(results[test]["accuracy"])]
        assert max(series(written, "val/accuracy")) == pytest.approx(results["validation"]["accuracy"])
        assert written.summary["gflops/dense"] == results["gflops"]["dense"]


def test_the_metric_and_its_direction(runs) -> None:
    """The summary names the metric as results.json does, and is the validation of the best epoch."""
    for directory, written in runs:
        record = json.loads((directory / "results.json").read_text())
        said = {key.removeprefix("metric/"): value for key, value in written.summary.items() if "metric/" in key}
        assert written.summary.get("metric", said) == record["metric"]
        assert written.summary["score"] == record["score"] == "accuracy"
        assert written.summarised["val/accuracy"] == "max"
        assert series(written, "validation/accuracy") == [pytest.approx(record["results"]["validation"]["accuracy"])]


@pytest.mark.parametrize(("higher", "mode"), [(True, "max"), (False, "min")])
def test_what_falls_is_summarised_by_its_lowest(higher: bool, mode: str) -> None:
    told: dict[str, Any] = {"summary": {}}

    def define_metric(name: str, **settings: Any) -> None:
        told[name] = settings

    class Logger(wandb_log.WandbLogger):
        experiment = SimpleNamespace(define_metric=define_metric, summary=told["summary"])

        def __init__(self) -> None:
            """Begin no run."""

    record = Record(score="fid", metric=Metric("fid", higher_is_better=higher))
    wandb_log.begin([Logger()], record)
    assert told["val/fid"] == {"summary": mode, "step_metric": "trainer/global_step", "step_sync": True}
    assert told["val/fid_best"]["summary"] == told["val/fid_raw"]["summary"] == mode
    assert told["summary"] == {"score": "fid", "metric": record.as_dict()["metric"]}
    told.clear()
    wandb_log.begin([Logger()], Record(score="fid"))
    assert told == {}


def test_token_counts(runs) -> None:
    for directory, written in runs:
        counts = [series(written, f"tokens/block_{block}") for block in range(1, 13)]
        assert counts == [[count] for count in json.loads((directory / "results.json").read_text())["tokens_per_block"]]
    assert [series(written, "tokens/block_12") for _, written in runs] == [[6], [49]]


def test_pictures_of_clustered_images(runs) -> None:
    (_, reducing), (_, dense) = runs
    shown = {key.split("/")[1] for row in reducing.history for key in row if key.startswith("clusters/")}
    assert shown == {"off_the_shelf", "val", "fine_tuned"}
    assert len(series(reducing, "clusters/val/filenames")) == 2  # epochs
    for files in series(reducing, "clusters/val/filenames"):
        assert len(files) == 3
        for file in files:
            with Image.open(reducing.files / file) as picture:
                pixels = np.asarray(picture.convert("RGB")).astype(float)
            assert pixels.shape == (224, 4 * 224 + 3 * 8, 3)
            parts = [pixels[:, left : left + 224] for left in range(0, 4 * 232, 232)]
            assert all(np.abs(parts[0] - part).mean() > 1 for part in parts[1:])
    captions = series(reducing, "clusters/val/captions")[0]
    assert captions == ["24, 12, 6 tokens after blocks 4, 7, 10"] * 3
    assert not any(key.startswith("clusters") for row in dense.history for key in row)
    assert not (dense.files / "media").exists()


def test_the_record_is_an_artifact(runs) -> None:
    for directory, written in runs:
        assert set(written.artifacts) == {"results"}
        (copy,) = written.artifacts["results"].values()
        assert list(written.artifacts["results"]) == ["results.json"]
        assert json.loads(Path(copy).read_text()) == json.loads((directory / "results.json").read_text())
        assert written.summary["status"] == "finished"


def test_runs_of_one_process_are_apart(runs) -> None:
    (_, first), (_, second) = runs
    assert first.id != second.id
    assert (first.name, second.name) == ("atc_single-0.5-0", "none-0.5-0")
    assert first.group == second.group == "both"
    assert first.exit_code == second.exit_code == 0
    assert "off_the_shelf/accuracy" not in second.summary
    assert series(first, "dense/accuracy") == series(second, "dense/accuracy")  # once each


def test_reports_read_what_was_logged(runs) -> None:
    logged = [SimpleNamespace(config=one.config, summary=one.summary, state="crashed") for _, one in runs]
    found = wandb_source.records("me/atc", SimpleNamespace(runs=lambda project: logged))
    for (directory, _), record in zip(runs, sorted(found, key=lambda record: str(record.reducer)), strict=True):
        local = json.loads((directory / "results.json").read_text())
        assert record.status == "finished"
        assert record.result("fine_tuned") == pytest.approx(local["results"]["fine_tuned"])
        assert record.result("gflops") == local["results"]["gflops"]
        assert record.as_dict()["metric"] == local["metric"]
        assert record.result("validation") == pytest.approx(local["results"]["validation"])
        stored = directory.parents[2].glob("store/*.json")
        assert record.identity in {json.loads(file.read_text())["identity"] for file in stored}


@pytest.mark.parametrize(
    ("overrides", "name", "group"),
    [
        (["reducer=tome", "keep_rate=0.7", "seed=3"], "tome-0.7-3", None),
        (["reducer=topk", "schedule=linear", "t=4"], "topk-t4-0", None),
        (["experiment=pretrain_digits", "reducer=none"], "none-0.5-0", "pretrain_digits"),
        (["experiment=pretrain_digits", "+sweep=mine"], "none-0.5-0", "mine"),
        (["logger.name=mine", "logger.group=ours"], "mine", "ours"),
    ],
)
def test_name_and_group(tmp_path: Path, overrides: list[str], name: str, group: str | None) -> None:
    logger = OmegaConf.to_container(composed("train", tmp_path, "logger=wandb", *overrides), resolve=True)["logger"]
    assert (logger["name"], logger["group"]) == (name, group)


def test_a_failed_run_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise ValueError("the pictures are gone")

    monkeypatch.setattr("lightning.Trainer.test", cut)
    for number in range(2):
        with pytest.raises(ValueError, match="the pictures are gone"):
            run.evaluate(composed("evaluate", tmp_path / str(number), "logger=wandb", "logger.offline=true"))
    written = [wandb_files.read(path) for n in range(2) for path in (tmp_path / str(n)).glob("wandb/offline-run-*")]
    assert len({one.id for one in written}) == 2
    assert [(one.exit_code, one.summary["status"]) for one in written] == [(1, "failed")] * 2


def test_the_gallery_can_be_sparser_or_off(tmp_path: Path) -> None:
    sparse = ["callbacks.gallery.every_n_epochs=2", "callbacks.gallery.stages=2", "callbacks.gallery.images=1"]
    run.train(composed("train", tmp_path / "a", "logger=wandb", "schedule=linear", "t=4", "baselines=false", *sparse))
    (directory,) = (tmp_path / "a").glob("wandb/offline-run-*")
    written = wandb_files.read(directory)
    assert [row["trainer/global_step"] for row in written.history if "clusters/val/count" in row] == [6]
    assert series(written, "clusters/val/captions") == [["18, 6 tokens after blocks 5, 10"]]
    run.evaluate(composed("evaluate", tmp_path / "b", "logger=wandb", "callbacks.gallery=null"))
    (directory,) = (tmp_path / "b").glob("wandb/offline-run-*")
    assert not (directory / "files" / "media").exists()


def test_a_resumed_run_is_the_same_one(tmp_path: Path) -> None:
    cfg = composed("train", tmp_path, "logger=wandb", "baselines=false", "trainer.max_epochs=2")
    (tmp_path / "wandb" / "run-20260131_120000-first111").mkdir(parents=True)
    (tmp_path / "wandb" / "run-20260201_120000-again222").mkdir()
    run.train(cfg)
    assert {one.name.rpartition("-")[2] for one in tmp_path.glob("wandb/offline-run-*")}.isdisjoint({"again222"})
    cfg.resume, cfg.trainer.max_epochs = str(tmp_path), 3
    run.train(cfg)
    assert list(tmp_path.glob("wandb/offline-run-*-again222"))
    assert wandb_log.same_run({"_target_": "lightning.pytorch.loggers.CSVLogger"}, tmp_path) == {}
    assert wandb_log.same_run(cfg.logger, tmp_path / "elsewhere") == {}
