"""python -m atc.bench start_up: processes that are timed, imports that are counted."""

import json

from atc.bench import start_up


def test_processes(tmp_path, monkeypatch, capsys):
    few = {"sleeps": ("import time; time.sleep(0.3)", []), "a wrong keep_rate": start_up.STARTS["a wrong keep_rate"]}
    few["import atc.run: what a run imports"] = ("import json.tool", [])
    monkeypatch.setattr(start_up, "STARTS", few)
    out = tmp_path / "start_up.json"
    start_up.main(["--runs", "1", "--packages", "3", "--out", str(out)])
    rows = {row.get("start"): row for row in json.loads(out.read_text())["rows"]}
    assert rows["sleeps"]["wall_seconds"] > 0.3 > rows["sleeps"]["cpu_seconds"]
    assert rows["a wrong keep_rate"]["cpu_seconds"] > 0.05
    assert "a wrong keep_rate" in capsys.readouterr().out


def test_the_commands_that_it_starts_do_what_it_says(tmp_path):
    """Mistakes are answered, and without PyTorch; the rest runs."""
    for name in ("a wrong keep_rate", "a wrong t", "an unknown schedule"):
        code, arguments = start_up.STARTS[name]
        said = start_up._python(["-c", code, *arguments], str(tmp_path))
        assert said.startswith("error: "), said
    assert start_up._python(["-c", *_flat("import atc")], str(tmp_path)) == ""


def _flat(name):
    code, arguments = start_up.STARTS[name]
    return [code, *arguments]


def test_imports_by_package():
    rows = start_up.by_package("import json, json.tool, decimal")
    found = {row["package"]: row for row in rows}
    assert found["json"]["modules"] >= 3
    assert [row["seconds"] for row in rows] == sorted((row["seconds"] for row in rows), reverse=True)
