"""Commands that are told to use a GPU where there is none: one line, before anything is computed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from atc.bench import __main__ as bench
from atc.choose import __main__ as choose

COMMANDS = {
    "choose datamodule=digits trials=0 reducers=[topk] device=cuda": (
        choose.main,
        "device=cuda: this machine has 0 GPUs; device=cpu computes without",
    ),
    "training --device cuda": (bench.main, "--device cuda: PyTorch sees no GPU here"),
    "linkage --device cuda": (bench.main, "--device cuda: PyTorch sees no GPU here"),
}


@pytest.mark.no_gpu
@pytest.mark.parametrize("line", COMMANDS)
def test_one_line(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main: Callable[[list[str]], int | None] = COMMANDS[line][0]
    monkeypatch.chdir(tmp_path)
    arguments = line.split()
    try:
        status = main(arguments[arguments[0] == "choose" :])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    said = capsys.readouterr().err
    assert status == 2
    assert said.count("\n") == 1
    assert said.startswith(f"error: {COMMANDS[line][1]}")
