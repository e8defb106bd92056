"""-m without a sweep file: a run that fails ends neither the others nor in a traceback."""

from pathlib import Path

import pytest

from tests.harness.commands import TINY, command

QUICK = [*TINY, "trainer.max_epochs=1", "optimizer.warmup_epochs=0", "baselines=false", "logger=none"]


@pytest.mark.slow
def test_one_that_is_out_of_reach(tmp_path: Path) -> None:
    done = command("train.py", "-m", *QUICK, "reducer=tome,topk", "keep_rate=0.25", cwd=tmp_path)
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ToMe cannot leave 12 of 49 tokens")]
    (last,) = done.stderr.splitlines()
    assert last == f"error: 1 of 2 runs failed, the first of them reducer=tome: {line.removeprefix('error: ')}"
    rows = [line for line in done.stdout.splitlines() if line.startswith("reducer=") and "│" in line]
    assert [row.split("│")[1].split()[0] for row in rows] == ["failed", "accuracy"]
    directory = tmp_path / rows[1].split("│")[2].strip()
    assert (directory / "results.json").is_file()
