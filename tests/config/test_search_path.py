"""`--config-dir sweeps` where there is no checkout."""

from pathlib import Path

import pytest

from atc.bench import command as bench
from atc.config import search_path


def test_sweeps_of_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "atc" / "sweeps"
    installed.mkdir(parents=True)
    monkeypatch.setattr(search_path, "SWEEPS", installed)
    monkeypatch.chdir(tmp_path)
    for typed in (["--config-dir", "sweeps"], ["-cd", "sweeps/"]):
        assert search_path.with_places([*typed, "-cn", "x"]) == [typed[0], str(installed), "-cn", "x"]
    assert search_path.with_places(["--config-dir=sweeps", "seed=1"]) == [f"--config-dir={installed}", "seed=1"]
    assert search_path.with_places(["--config-dir", "mine"]) == ["--config-dir", "mine"]
    assert search_path.with_places(["--config-dir"]) == ["--config-dir"]
    assert search_path.override(["--config-dir", "sweeps"]) == [f"hydra.searchpath=['file://{installed}']"]
    (installed / "speed.yaml").write_text("bench: {t: 4}")
    found = bench.overrides(["--config-dir", "sweeps", "-cn", "speed"])
    assert found == [f"hydra.searchpath=['file://{installed}']", "t=4"]
    (tmp_path / "sweeps").mkdir()
    assert search_path.with_places(["--config-dir", "sweeps"]) == ["--config-dir", "sweeps"]
