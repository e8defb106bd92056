"""python -m atc.info: what is pasted into an issue, and what must not be in it."""

import getpass
import json
import platform
import socket
from pathlib import Path

import pytest
import torch

import atc
from atc import info
from atc.ops.linkage import cpu


def test_text_to_paste(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert info.main([]) == 0
    printed = capsys.readouterr().out
    lines = dict(line.split(":", 1) for line in printed.splitlines())
    assert lines["versions"].strip().startswith(f"atc-toolkit {atc.__version__}, python {platform.python_version()}")
    assert f"torch {torch.__version__.partition('+')[0]}" in lines["versions"]
    assert platform.machine() in lines["system"]
    assert "OMP_NUM_THREADS=1" in lines["environment"]
    in_use = "cpu" if cpu.kernel() is not None else "torch"
    assert f"in use: {in_use} on a CPU" in lines["clustering"]
    assert all(len(line) < 1000 for line in printed.splitlines())


def test_no_names_of_users_or_machines_and_no_paths(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the kernel is missing, of which a warning would name the path."""
    monkeypatch.setattr(cpu, "LIBRARY", Path("/home/somebody/_native.so"))
    for one in (cpu.kernel, cpu.kernel_among):
        one.cache_clear()
    try:
        info.main(["--json"])
    finally:
        for one in (cpu.kernel, cpu.kernel_among):
            one.cache_clear()
    printed, warned = capfd.readouterr()
    found = json.loads(printed)
    assert found["clustering"]["on_cpu"] == "torch"
    assert found["clustering"]["compiled_kernel"] is False
    assert "kernel" not in warned + caplog.text
    values = printed.replace(found["processor"]["name"], "")
    assert "/" not in values
    assert "\\" not in values
    for name in {getpass.getuser(), socket.gethostname()} - {"root", "localhost"}:
        assert name not in values


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    found = info.collect()
    gpu = SimpleNamespace(name="NVIDIA H100", total_memory=80 * 2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: gpu.name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: gpu)
    text = info.text(info.collect())
    assert "GPUs:        NVIDIA H100, 80.0 GiB, compute capability 9.0" in text
    assert "on a GPU" in text
    if not found["gpus"]:
        assert "GPUs:        none" in info.text(found)
