"""The pages on schedules and data sets of one's own: their files, as they stand, and their commands."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from tests.harness import forked
from tests.harness.commands import ROOT, TINY, environment

FILES = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", re.S | re.M)
COMMAND = re.compile(r"^    PYTHONPATH=\. python (.*)$", re.M)
QUICK = [
    "baselines=false",
    "optimizer.warmup_epochs=0",
    *(one for one in TINY if one.startswith(("trainer.", "bench"))),
]


LIST = "## A list of picture files"


def pictures(folder: Path) -> None:
    """What the page's list of pictures names."""
    (folder / "garden").mkdir()
    lines = ["file,class,part"]
    for number in range(24):
        colour = ("red", "blue", "green")[number % 3]
        Image.new("RGB", (40, 30 + number), colour).save(folder / "garden" / f"{number}.png")
        lines.append(f"{number}.png,{colour},{'test' if number >= 18 else 'train'}")
    (folder / "garden" / "list.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "part"), [("schedule.md", 0), ("data_set.md", 0), ("data_set.md", 1)], ids=["schedule", "own", "list"]
)
def test_what_it_says_works(page: str, part: int, tmp_path: Path) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(LIST)[part]
    files = FILES.findall(text)
    assert len(files) == 2
    for name, content in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    pictures(tmp_path)
    commands = COMMAND.findall(text)
    assert len(commands) == 1 + part
    for command in commands:
        script, *arguments = shlex.split(command)
        quick = {"train.py": QUICK, "evaluate.py": ["benchmark.seconds=0.02", "trainer.limit_test_batches=1"]}
        env = environment()
        env["PYTHONPATH"] = f"{tmp_path}:{env.get('PYTHONPATH', '')}"
        own = str(ROOT / script) if script.endswith(".py") else script
        done = forked.run([own, *arguments, *quick.get(script, [])], tmp_path, env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("test accuracy" if own != script else "complete") in done.stdout
