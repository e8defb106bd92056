"""python -m atc.bench dynamic: a row for each method, and what it says of time and operations agrees."""

import json
import platform
import subprocess
import sys

import pytest

from atc.bench import allocator
from atc.bench.__main__ import main


@pytest.mark.slow
def test_rows_of_a_keep_rate(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(allocator, "keep_memory", lambda: True)  # this process has other tests to run
    out = tmp_path / "dynamic.json"
    main(["dynamic", "--keep-rates", "0.5", "--calibrate", "2", "--batch", "3", "--runs", "1", "--out", str(out)])
    record = json.loads(out.read_text())
    assert record["settings"]["freed_memory"] == "kept"
    rows = record["rows"]
    dense, static, packed, padded = rows
    assert static["tokens"] == [98, 49, 24]
    assert dense["gflops"] > packed["gflops"] == padded["gflops"]
    assert all(most >= mean for most, mean in zip(padded["tokens"], packed["tokens"], strict=True))
    assert packed["ideal_speed_up"] == pytest.approx(dense["gflops"] / packed["gflops"], abs=0.01)
    assert "padded" in capsys.readouterr().out


RESIDENT = """
import sys
from pathlib import Path
import torch
from atc.bench.allocator import keep_memory
assert sys.argv[1] == "no" or keep_memory()
torch.ones(2**26)  # 256 MiB, freed at once
pages = int(Path("/proc/self/statm").read_text().split()[1])
print(pages * 4096 // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_is_kept():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", RESIDENT, how], capture_output=True, check=True, text=True).stdout)
        for how in ("yes", "no")
    )
    assert kept - given_back > 200


@pytest.mark.parametrize("given", [["--batch", "0"], ["--keep-rates", "2"], ["--method", "nearest"]])
def test_mistakes_are_refused(given, capsys):
    with pytest.raises(SystemExit) as end:
        main(["dynamic", *given])
    assert end.value.code == 2
    assert given[0] in capsys.readouterr().err
