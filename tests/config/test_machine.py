"""What a machine cannot do is refused before anything is computed."""

import os
from pathlib import Path

import pytest

from atc.config import machine
from tests.harness.commands import composed


def test_a_store_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser may write everywhere, so that the system's answer is a made-up one."""
    machine.check(composed("evaluate", tmp_path / "there" / "not yet"))
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(
        ValueError, match=rf"paths\.store={tmp_path}/store cannot be written: {tmp_path} takes no files"
    ):
        machine.check(composed("evaluate", tmp_path))


def test_a_store_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=rf"cannot be written: {tmp_path}/file is a file"):
        machine.check(composed("evaluate", tmp_path / "file"))
