"""python -m atc.bench dynamic: a row for each method, and what it says of time and operations agrees."""

import json

import pytest

from atc.bench.__main__ import main


@pytest.mark.slow
def test_rows_of_a_keep_rate(tmp_path, capsys):
    out = tmp_path / "dynamic.json"
    main(["dynamic", "--keep-rates", "0.5", "--calibrate", "2", "--batch", "3", "--runs", "1", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    dense, static, packed, padded = rows
    assert static["tokens"] == [98, 49, 24]
    assert dense["gflops"] > packed["gflops"] == padded["gflops"]
    assert all(most >= mean for most, mean in zip(padded["tokens"], packed["tokens"], strict=True))
    assert packed["ideal_speed_up"] == pytest.approx(dense["gflops"] / packed["gflops"], abs=0.01)
    assert "padded" in capsys.readouterr().out


@pytest.mark.parametrize("given", [["--batch", "0"], ["--keep-rates", "2"], ["--method", "nearest"]])
def test_mistakes_are_refused(given, capsys):
    with pytest.raises(SystemExit) as end:
        main(["dynamic", *given])
    assert end.value.code == 2
    assert given[0] in capsys.readouterr().err
