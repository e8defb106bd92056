"""Compiled kernels on disk: found again by what they depend on, rebuilt where a file is broken, never an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from atc.ops.linkage.cuda import binaries
from atc.ops.linkage.cuda.binaries import Binary, cached_at

FILES = {"kernel.cu": b"int main", "a.h": b"one", "b.h": b"two"}
OPTIONS = ["--gpu-architecture=sm_90", "-DATC_METHOD=2"]
WANTED = ((9, 0), binaries.BLOCK, "average", torch.float32)


@pytest.fixture
def nvrtc(monkeypatch, tmp_path):
    """A compiler that counts its calls, of a version that a test may change."""

    class Compiler:
        calls, version = 0, (13, 2)

        def nvrtcVersion(self):
            return 0, *self.version

        def compile(self, nvrtc, files, options, target):
            self.calls += 1
            return Binary(f"binary {self.calls} for {target}".encode(), "Used 40 registers, µ")

    compiler = Compiler()
    monkeypatch.setenv("ATC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(binaries, "bindings", lambda: (compiler, None))
    monkeypatch.setattr(binaries, "newest_arch", lambda: 90)
    monkeypatch.setattr(binaries, "_compile", compiler.compile)
    return compiler


def compiled(*wanted):
    return binaries.compiled.__wrapped__(*(wanted or WANTED))


def cached_file(tmp_path):
    (file,) = (tmp_path / "cache/linkage").iterdir()
    return file


def test_a_second_process_does_not_compile(nvrtc):
    assert compiled() == compiled() == Binary(b"binary 1 for sm_90", "Used 40 registers, µ")
    assert nvrtc.calls == 1


def test_whatever_a_binary_depends_on_gives_another_file(nvrtc, tmp_path):
    compiled()
    for other in (
        ((8, 0), *WANTED[1:]),
        ((9, 0), binaries.GRID, *WANTED[2:]),
        ((9, 0), binaries.BLOCK, "complete", torch.float32),
        ((9, 0), binaries.BLOCK, "average", torch.float64),
    ):
        compiled(*other)
    nvrtc.version = (13, 3)
    compiled()
    assert nvrtc.calls == len(list((tmp_path / "cache/linkage").iterdir())) == 6
    first = cached_at(FILES, OPTIONS, (13, 2))
    assert cached_at(dict(FILES), list(OPTIONS), (13, 2)) == first
    for changed in ({"a.h": b"onet", "b.h": b"wo"}, {"b.h": b"tw0"}, {"c.h": b""}):
        assert cached_at(FILES | changed, OPTIONS, (13, 2)) != first


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "directory"])
def test_a_broken_file_is_rebuilt(nvrtc, tmp_path, damage):
    whole = compiled()
    file = cached_file(tmp_path)
    content = file.read_bytes()
    if damage == "directory":
        file.unlink()
        file.mkdir()
    else:
        bad = {"empty": b"", "cut": content[:-1], "changed": content[:-1] + bytes([content[-1] ^ 1])}
        file.write_bytes(bad[damage])
    assert compiled().report == whole.report
    assert nvrtc.calls == 2
    if damage != "directory":
        assert compiled().image == b"binary 2 for sm_90"
        assert nvrtc.calls == 2


@pytest.mark.parametrize("place", ["a file", "a file/below", "/proc/none"])
def test_where_nothing_can_be_written_each_process_compiles(nvrtc, tmp_path, monkeypatch, place):
    (tmp_path / "a file").write_text("not a directory")
    monkeypatch.setenv("ATC_CACHE", os.path.join(tmp_path, place))
    assert compiled().image == b"binary 1 for sm_90"
    assert compiled().image == b"binary 2 for sm_90"


def test_the_directory_is_that_of_the_environment(monkeypatch, tmp_path):
    name = cached_at(FILES, OPTIONS, (13, 2)).name
    for variable, value, expected in (
        ("HOME", str(tmp_path / "home"), tmp_path / "home/.cache/atc"),
        ("XDG_CACHE_HOME", str(tmp_path / "xdg"), tmp_path / "xdg/atc"),
        ("ATC_CACHE", str(tmp_path / "own"), tmp_path / "own"),
    ):
        if variable == "HOME":
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
            monkeypatch.delenv("ATC_CACHE", raising=False)
        monkeypatch.setenv(variable, value)
        assert cached_at(FILES, OPTIONS, (13, 2)) == Path(expected) / "linkage" / name
    monkeypatch.delenv("ATC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cached_at(FILES, OPTIONS, (13, 2)) == tmp_path / "home/.cache/atc/linkage" / name
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without a home
    assert cached_at(FILES, OPTIONS, (13, 2)) is None


def test_a_user_without_a_home_compiles(nvrtc, monkeypatch):
    monkeypatch.setattr(binaries, "cached_at", lambda *key: None)
    assert compiled().image == b"binary 1 for sm_90"
    assert compiled().image == b"binary 2 for sm_90"
