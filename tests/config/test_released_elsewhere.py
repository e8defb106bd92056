"""Checkpoints of the authors' methods that have no reducer here, whatever reducers are added one day."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atc import methods
from atc.config import build
from atc.config import released as report
from atc.vit.backbones import read_weights
from atc.weights import released
from tests.config.test_released import learned, states, write

ELSEWHERE = ("dyvit", "sit", "sinkhorn", "patchmerger", "ats")


@pytest.fixture
def without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods that there are, but for those that serve these checkpoints: the day one is added, this test stays."""
    classes, names = methods.classes, build.names

    def theirs(name: str, cls: Any) -> bool:
        return bool({name, getattr(cls, "released_method", None)} & set(ELSEWHERE))

    def other_classes() -> Iterator[tuple[str, Any]]:
        return ((name, cls) for name, cls in classes() if not theirs(name, cls))

    def other_names(group: str) -> list[str]:
        added = {name for name, cls in classes() if theirs(name, cls)} if group == "reducer" else set()
        return [name for name in names(group) if name not in added]

    monkeypatch.setattr(methods, "classes", other_classes)
    monkeypatch.setattr(build, "names", other_names)


@pytest.mark.usefixtures("without_them")
@pytest.mark.parametrize("method", ELSEWHERE)
def test_methods_that_do_not_exist_here(tmp_path: Path, method: str) -> None:
    raw, _ = states()
    path = write(tmp_path / "w.pth", raw | learned(method), raw, model=f"{method}_small_patch16_224", ema_best=False)
    with pytest.raises(ValueError, match=f"^the checkpoint holds a {method}_small_.* reducer={method}; there are the"):
        report.settings(released.arguments(path))
    if learned(method):
        with pytest.raises(ValueError, match=r"^the checkpoint holds layers that no reducer here has: \w+\.0\."):
            read_weights(path)
    else:
        assert read_weights(path).keys() == raw.keys()
