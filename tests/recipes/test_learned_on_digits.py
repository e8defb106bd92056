"""Every method that learns: one short fine-tuning on digits takes it well above where it starts."""

import inspect
from pathlib import Path

import pytest
import torch

from atc import run
from atc.config import build
from atc.core import Reducer, Stage
from atc.vit.reduced import reducer_class
from tests.harness.commands import composed

# Early blocks, so that the choice matters: whole images, one epoch on the 1,047 training digits.
RECIPE = [
    *("keep_rate=0.4", "blocks=[2,4,6]", "optimizer.lr=1e-3", "optimizer.warmup_epochs=0", "trainer.max_epochs=1"),
    *(f"trainer.limit_{part}_batches=1.0" for part in ("train", "val", "test")),
    *("datamodule.batch_size=32", "datamodule.eval_batch_size=90", "baselines=off_the_shelf", "threads=1"),
]
NINE_IMAGES = 9 / 450


def learns(name: str) -> bool:
    with torch.device("meta"):
        made = build.find_reducer(name)(Stage(block=2, dim=8, keep=2, depth=12, tokens_in=4, rate=0.5))
    return any(True for _ in made.parameters())


def gates(name: str) -> bool:
    """Whether patches only pass blocks by: that costs little off the shelf; `tests/reducers/test_svit.py` trains it."""
    return reducer_class(build.find_reducer(name)).gates


LEARNED = [name for name in build.names("reducer") if learns(name) and not gates(name)]


def test_there_are_such_methods() -> None:
    needing = {name for name in build.names("reducer") if reducer_class(build.find_reducer(name)).needs_training}
    assert {name for name in needing if not gates(name)} <= set(LEARNED)
    assert len(LEARNED) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_beats_its_untrained_self(tmp_path: Path, name: str) -> None:
    method = reducer_class(build.find_reducer(name))
    asks = any("context" in str(parameter) for parameter in inspect.signature(method.losses).parameters.values())
    taught = ["teacher=digits"] if asks and method.losses is not Reducer.losses else []
    record = run.train(composed("train", tmp_path, f"reducer={name}", *RECIPE, *taught))
    before, after = (record.result(part)["accuracy"] for part in ("off_the_shelf", "fine_tuned"))
    assert after > before + NINE_IMAGES, f"{before:.3f} -> {after:.3f}"
