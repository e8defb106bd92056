"""docs/dynamic.md: its Python runs as it stands, and its commands are ones that there are."""

import re
import shlex
from pathlib import Path

from hydra import compose, initialize_config_dir

from atc.config import build
from atc.config.check import check

PAGE = (Path(__file__).parent.parent / "docs" / "dynamic.md").read_text(encoding="utf-8")


def test_its_python_runs(capsys):
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M):
        scope: dict = {}
        exec(block, scope)
        assert [stage.count.shape for stage in scope["model"].trace] == [(2,)] * 3
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_its_evaluations_compose():
    commands = re.findall(r"^    python evaluate.py (.*)$", PAGE, re.M)
    assert len(commands) >= 2
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        for command in commands:
            check(compose("evaluate", shlex.split(command)), "evaluate")
