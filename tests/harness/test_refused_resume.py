"""A resume that is refused leaves the run as it was; weights trained with another reducer are said to be."""

import json
import shutil
from pathlib import Path

import pytest

from atc import run
from atc.runs import directories
from tests.harness.commands import composed

SETTINGS = ["baselines=false", "optimizer.warmup_epochs=0"]


@pytest.fixture
def here(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def contents(directory: Path) -> dict[str, bytes]:
    files = [file for file in directory.rglob("*") if file.is_file() and file.suffix != ".log"]
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


REFUSED = {
    "reducer=dpc_knn": "does not fit the model: it lacks",
    "optimizer.opt=sgd": "the state of another optimizer than SGD",
    "optimizer.layer_decay=0.5": "its optimizer has 4 groups",
    "trainer.max_epochs=1": "current_epoch=2",
    "datamodule.size=30": r"doesn't match model",
}


@pytest.mark.parametrize(
    ("said", "status"),
    [*((said, "interrupted") for said in REFUSED), ("optimizer.opt=sgd", "finished"), ("datamodule.size=30", "failed")],
)
def test_a_refused_resume_changes_nothing(here: Path, said: str, status: str) -> None:
    results = here / "results.json"
    results.write_text(json.dumps(json.loads(results.read_text()) | {"status": status}))
    before = contents(here)
    settings = [*SETTINGS, "reducer=topk", "trainer.max_epochs=3", said]
    with pytest.raises(Exception, match=REFUSED[said]):
        run.train(composed("train", here, *settings, f"resume={here}"))
    assert contents(here) == before


def test_the_run_can_still_be_resumed(here: Path) -> None:
    resumed = [*SETTINGS, "trainer.max_epochs=3", f"resume={here}"]
    with pytest.raises(ValueError, match="does not fit the model"):
        run.train(composed("train", here, *resumed, "reducer=dpc_knn"))
    assert run.train(composed("train", here, *resumed, "reducer=topk")).status == "finished"


def test_weights_trained_with_another_reducer_are_said_to_be(here: Path, tmp_path: Path) -> None:
    said = "weights trained with topk, not with tome"
    evaluated = composed("evaluate", tmp_path / "evaluated", "reducer=tome", f"checkpoint={here}")
    assert said in run.evaluate(evaluated).notices
    settings = [*SETTINGS, "trainer.max_epochs=3", f"resume={here}"]
    assert said in run.train(composed("train", here, *settings, "reducer=tome")).notices
    longer = [*SETTINGS, "trainer.max_epochs=4", f"resume={here}"]
    assert said in run.train(composed("train", here, *longer, "reducer=tome")).notices  # it is not forgotten
    assert (here / directories.BEST).is_file()
