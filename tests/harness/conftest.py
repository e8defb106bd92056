"""Lightning talks a lot; a training for all that need a finished one."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from atc import run
from tests.harness.commands import composed


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs with topk, to be read or copied."""
    directory = tmp_path_factory.mktemp("trained") / "runs" / "here"
    settings = ["reducer=topk", "baselines=false", "optimizer.warmup_epochs=0"]
    run.train(composed("train", directory, *settings))
    return directory
