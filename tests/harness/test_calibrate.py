"""python -m atc.calibrate: on a data set and on a folder; what it prints is a command that runs."""

import json
import shlex

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from atc.calibrate import main
from atc.config import build
from atc.config.check import check

QUICK = ["backbone.pretrained=false", "number=12", "batch_size=6"]


def test_a_data_set_gives_a_table_a_command_and_files(tmp_path, capsys):
    output, picture = tmp_path / "found.json", tmp_path / "found.png"
    assert main([*QUICK, "keep_rate=[0.9,0.7,0.5]", f"output={output}", f"picture={picture}"]) == 0
    head, *rows, _, command = capsys.readouterr().out.splitlines()
    assert head == "tokens that 12 images keep behind each block"
    assert [row.split()[0] for row in rows] == ["block", "4", "7", "10"]
    found = json.loads(output.read_text())
    assert found["images"] == 12
    assert [stage["wanted"] for stage in found["stages"]] == [44, 30, 15]
    for stage in found["stages"]:
        assert len(stage["tokens"]) == 12
        assert stage["mean"] == pytest.approx(stage["wanted"], abs=0.1)
    assert picture.stat().st_size > 1000
    python, script, *given = shlex.split(command)
    assert (python, script) == ("python", "evaluate.py")
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose("evaluate", given)
        check(cfg, "evaluate")
    thresholds = [stage["threshold"] for stage in found["stages"]]
    assert list(cfg.schedule.threshold) == pytest.approx(thresholds, abs=1e-5)
    assert cfg.schedule.keep_rate is None


def test_a_folder_of_images_and_one_threshold(tmp_path, capsys):
    drawn = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8)
    (tmp_path / "a folder").mkdir()
    for number, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(tmp_path / "a folder" / f"{number}.png")
    assert main([*QUICK, f"images={tmp_path}/a folder", "one=true", "reducer=atc_single_dynamic"]) == 0
    head, *_, command = capsys.readouterr().out.splitlines()
    assert "3 images" in head
    assert "datamodule" not in command
    assert command.rpartition(" ")[2].startswith("threshold=0.")


MISTAKES = {
    "reducer=tome": "reducer=tome keeps as many tokens as it is told to",
    "schedule=constant": "schedule=constant: a threshold goes with schedule=stages",
    "keep_rate=1.5": "keep_rate=1.5 must lie in (0, 1]",
    "keep_rate=[0.5,0.5]": "needs one share for each of the blocks",
    "threshold=0.3": "threshold=0.3",
    "images=nowhere": "images=nowhere: no such image or folder",
    "images=.": "the folder holds no image",
    "datamodule=null": "datamodule=null: a run needs one",
    "output=found.txt": "output=found.txt must end in .json",
    "number=0": "number=0 must be 1 or more",
    "keep_rat=0.5": "did you mean 'keep_rate'?",
    "--keep_rate=0.5": "settings have no dashes",
}


@pytest.mark.parametrize(("given", "said"), MISTAKES.items(), ids=MISTAKES)
def test_mistakes_get_one_line(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["backbone.pretrained=false", given]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("error: ")
    assert said in line
