"""Metrics: unit, scale and direction, and everything that asks for them."""

import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

from atc.config.selecting import direction
from atc.core import Metric, metric
from atc.runs.record import Record
from atc.runs.summary import summary_text
from atc.tasks.classification import Classification
from atc.tasks.multilabel import Multilabel
from atc.tasks.task import Task

FID = Metric("fid", higher_is_better=False)
ACCURACY = Metric("accuracy", "%", 100.0)


def test_direction_and_scale():
    assert (FID.mode, ACCURACY.mode) == ("min", "max")
    assert FID.better(33.5, 33.8)
    assert not FID.better(33.5, 33.5)
    assert ACCURACY.better(0.8, 0.7)
    assert (FID.best([3.0, 1.0, 2.0]), ACCURACY.best([3.0, 1.0, 2.0])) == (1.0, 3.0)
    assert (FID.lead(30.0, 33.0), ACCURACY.lead(30.0, 33.0)) == (3.0, -3.0)
    assert (FID.text(33.804), ACCURACY.text(0.81254), Metric("nmi").text(0.5, 3)) == ("33.80", "81.25 %", "0.500")
    assert (FID.label, ACCURACY.label) == ("fid", "accuracy, %")


def test_what_records_have_as_their_metric():
    assert metric.is_recorded(FID._asdict())
    assert metric.is_recorded(None)
    for wrong in ({"name": "fid"}, "fid", FID._asdict() | {"scale": True}, FID._asdict() | {"unit": 1}):
        assert not metric.is_recorded(wrong)


def test_layouts_name_a_metric_or_describe_it():
    assert metric.of_layout("fid") == FID
    assert metric.of_layout({"name": "lpips", "higher_is_better": False}) == Metric("lpips", higher_is_better=False)
    for wrong in ("lpips", {"unit": "%"}, {"name": "x", "scale": "1"}, {"name": "x", "digits": 1}, 3):
        with pytest.raises(ValueError, match=r"must be a name|is none of") as error:
            metric.of_layout(wrong)
        assert "\n" not in str(error.value)


def test_tasks_say_what_they_are_scored_by():
    assert (Classification.score, Classification.selection_metric) == ("accuracy", "val/accuracy")
    assert (Multilabel.score, Multilabel.selection_metric) == ("map", "val/map")
    assert Classification.metric_named("top5") == Metric("top5", "%", 100.0)
    assert not Multilabel.metric_named("loss").higher_is_better
    assert issubclass(Multilabel, Task)
    assert not issubclass(Multilabel, Classification)


class Restoration(Task):
    """A task whose score falls."""

    metric = Metric("error", "mm", 1.0, higher_is_better=False)


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [("val/error", "min"), ("val/error_best", "min"), ("val/other", None), (None, None)],
)
def test_checkpoints_go_by_the_direction_of_the_metric(monitor, expected):
    callback = OmegaConf.create({"monitor": monitor, "mode": "max"})
    assert direction(callback, Restoration.metric).get("mode") == expected
    assert direction(OmegaConf.create({"filename": "last"}), Restoration.metric) == {}


def test_the_summary_shows_the_metric_on_its_scale():
    parts = {
        "score": "error", "metric": Restoration.metric._asdict(), "results": {"fine_tuned": {"error": 1.5}},
        "reduces": False, "reducer": "none", "schedule": "", "backbone": "b", "datamodule": "d", "seed": 0,
        "notices": [], "tokens_per_block": [4],
    }  # fmt: skip
    said = summary_text(Record.read(parts), outputs="x")
    assert "test error, mm" in said
    assert "1.50" in said
    assert "150" not in said


def test_the_vocabulary_of_reports_needs_no_pytorch():
    code = "import sys, atc.core.metric, atc.report.cells; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_of_the_vocabulary_is_there():
    import atc.core

    for name in atc.core.__all__:
        assert getattr(atc.core, name) is not None
    assert set(atc.core.__all__) <= set(dir(atc.core))
    with pytest.raises(AttributeError, match=r"atc\.core"):
        atc.core.Reducers  # noqa: B018
    assert issubclass(atc.core.Reducer, torch.nn.Module)
