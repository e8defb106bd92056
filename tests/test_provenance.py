"""What is said of the code, the versions and the machine, against those who know."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from atc import provenance

ROOT = Path(__file__).parents[1]


def test_commit() -> None:
    if not (ROOT / ".git").exists():
        assert provenance.commit() is None
        return
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    provenance.commit.cache_clear()
    assert provenance.commit() in (head, f"{head}-dirty")


def test_a_process_keeps_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    known = provenance.commit()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked git again"))
    assert provenance.commit() == known


def test_a_commit_in_short() -> None:
    assert provenance.short("0123456789abcdef" + "0" * 24) == "0123456789"
    assert provenance.short("0123456789abcdef" + "0" * 24 + "-dirty") == "0123456789-dirty"
    assert provenance.short(None) == "none"


def test_versions() -> None:
    found = provenance.versions(("torch", "timm", "no-such-package"))
    assert list(found) == ["python", "torch", "timm"]
    assert found["timm"] == version("timm")


def test_the_origin_of_a_result() -> None:
    origin = provenance.origin()
    assert list(origin) == ["commit", "versions", "machine"]
    assert origin["versions"] == provenance.versions()


def test_machine() -> None:
    found = provenance.machine()
    assert (found["cores"], found["threads"]) == (os.cpu_count(), torch.get_num_threads())
    assert found["processor"]
    assert len(found["gpus"]) == torch.cuda.device_count()


def test_tf32_is_pytorchs_setting_and_a_gpus_alone():
    assert provenance.tf32(on_gpu=False) == {"matrix_products": False, "convolutions": False}
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    try:
        for precision in ("tf32", "ieee"):
            convolutions.fp32_precision = precision
            assert provenance.tf32(on_gpu=True)["convolutions"] is (precision == "tf32")
    finally:
        convolutions.fp32_precision = before
