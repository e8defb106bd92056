"""`python -m atc.visualise` as a user types it."""

import runpy
import sys

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from atc.config import build
from atc.visualise import choices, main, overrides
from tests import golden

UNTRAINED = ["backbone=digits", "backbone.pretrained=false"]


@pytest.fixture
def cat(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(golden.outputs("backbone")["images"][3]).save("my cat (1).png")
    return "image=my cat (1).png"


def complaint(capsys, *arguments: str) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_a_picture_named_after_the_image(cat, tmp_path, capsys):
    assert main([cat, *UNTRAINED, "keep_rate=0.25"]) == 0
    assert capsys.readouterr().out == "my cat (1)_tokens.png\n"
    with Image.open(tmp_path / "my cat (1)_tokens.png") as picture:
        assert picture.size[0] > 1000
        assert np.asarray(picture.convert("RGB")).std() > 20


def test_several_reducers_and_keep_rates_are_rows(cat, tmp_path):
    several = [cat, *UNTRAINED, "reducer=[tome,topk]", "keep_rate=[0.5,0.7]", "look=mean"]
    assert main([*several, "output=rows.svg"]) == 0
    drawn = (tmp_path / "rows.svg").read_text()
    for words in ("tome, keep rate 0.5", "topk, keep rate 0.7", "stage 3, block 10", "24 tokens", "49 patches"):
        assert f">{words}</text>" in drawn
    assert drawn.count("<image") == 16
    assert main([*several, "output=again.svg"]) == 0
    assert (tmp_path / "again.svg").read_text() == drawn


def test_images_down_and_the_last_stage_of_methods_across(cat, tmp_path):
    Image.fromarray(golden.outputs("backbone")["images"][1]).save("dog.png")
    asked = [cat, *UNTRAINED, "reducer=[tome,topk,random]", "look=detail", "last_stage=true", "more_images=[dog.png]"]
    assert main([*asked, "output=across.svg"]) == 0
    drawn = (tmp_path / "across.svg").read_text()
    assert drawn.count("<image") == 2 * 4
    words = {"input": 1, "tome": 1, "topk": 1, "random": 1, "49 patches": 2, "6 tokens": 4, "7 tokens": 2}
    assert {word: drawn.count(f">{word}</text>") for word in words} == words
    assert "stage" not in drawn
    assert main([*asked, "output=across.pdf", "look=[mean,distinct]"]) == 0
    assert (tmp_path / "across.pdf").read_bytes().startswith(b"%PDF")


def test_a_few_colours_make_a_small_file(cat, tmp_path):
    for colours, name in (("null", "all.png"), ("64", "few.png")):
        assert main([cat, *UNTRAINED, f"png_colours={colours}", f"output={name}", "look=detail"]) == 0
    with Image.open(tmp_path / "few.png") as picture:
        assert picture.mode == "P"
        assert len(picture.getcolors()) <= 64
    assert (tmp_path / "few.png").stat().st_size < (tmp_path / "all.png").stat().st_size


def test_an_animation(cat, tmp_path):
    assert main([cat, *UNTRAINED, "reducer=[atc_average,random]", "gif.per_stage=3", "output=order.gif"]) == 0
    with Image.open(tmp_path / "order.gif") as file:
        assert file.n_frames == 10


@pytest.mark.parametrize("spelling", [["--html", "a page.html"], ["--html=a page.html"], ["html=a page.html"]])
def test_a_page_and_nothing_else(cat, tmp_path, capsys, spelling):
    assert main([cat, *UNTRAINED, "reducer=[atc_single,evit]", "keep_rate=0.7", *spelling]) == 0
    assert capsys.readouterr().out == "a page.html\n"
    page = (tmp_path / "a page.html").read_text()
    assert page.count('"linkage":"single"') == 1
    assert page.count('"reducer":"evit"') == 1
    assert not list(tmp_path.glob("*_tokens.png"))


def test_by_itself_a_page_has_every_method_that_works(cat, tmp_path, caplog):
    assert main([cat, *UNTRAINED, "page.keep_rates=[0.5]", "--html", "all.html"]) == 0
    page = (tmp_path / "all.html").read_text()
    for name in build.names("reducer"):
        stem = name.removeprefix("atc_")
        shown = f'"linkage":"{stem}"' in page or f'"reducer":"{stem}"' in page
        left_out = name == "none" or any(line.startswith(f"{name} is left out") for line in caplog.messages)
        assert shown != left_out, name


def test_an_image_of_a_data_set_brings_its_backbone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert overrides(["image=digits:12"]) == ["datamodule=digits", "index=12", "backbone=digits"]
    assert overrides(["datamodule=digits", "index=12", "backbone=deit_tiny"])[2:] == ["backbone=deit_tiny"]
    assert main(["image=digits:12", "backbone=digits", "backbone.pretrained=false"]) == 0
    assert capsys.readouterr().out == "digits_12_tokens.png\n"


def test_an_image_of_many_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["image=shapes:3", *UNTRAINED, "part=val", "output=shapes.png"]) == 0
    assert (tmp_path / "shapes.png").is_file()


def test_the_defaults_are_those_of_training():
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        (choice,) = choices(["image=x.png"])
        training = compose("train")
    assert choice.reducer == "atc_average"
    for key in ("keep_rate", "blocks", "t", "as_released", "proportional_attention", "size_weighted", "reducer"):
        assert choice.cfg[key] == training[key], key


def test_a_backbone_may_say_how_it_attends():
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        (choice,) = choices(["image=x.png", "backbone=mae_base"])
    assert choice.cfg.proportional_attention is False
    assert choice.cfg.schedule.clamp is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no image: give image=PATH"),
        (["image=nowhere.png"], "nowhere.png does not exist"),
        (["image=."], "is a directory"),
        (["image=digits:450", *UNTRAINED], "index=450: the test part has images 0 to 449"),
        (["image=digits:1", "look=meen"], "did you mean 'mean'"),
        (["image=digits:1", "reducer=atc_averge"], "did you mean 'atc_average'"),
        (["image=digits:1", "reducer=[atc_average,tomme]"], "did you mean 'tome'"),
        (["image=digits:1", "reducer=[]"], "nothing between the brackets"),
        (["image=digits:1", "kep_rate=0.5", "reducer=[tome,topk]"], "did you mean 'keep_rate'"),
        (["image=digits:1", "keep_rate=2", *UNTRAINED], "keep_rate=2 must lie in"),
        (["image=digits:1", "more_images=[a.png]"], "more_images=[...] goes with last_stage=true and image=PATH"),
        (["image=digits:1", "last_stage=true", "output=a.gif", *UNTRAINED], "last_stage=true draws one picture"),
        (["image=digits:1", "output=cat.bmp"], "must end in one of .png"),
        (["image=digits:1", "output=missing/cat.png"], "there is no directory missing"),
        (["image=digits:1", "gif.per_stage=0", "output=a.gif", *UNTRAINED], "per_stage=0"),
        (["image=digits:1", "--html"], "--html needs the file"),
        (["image=digits:1", "--output", "x.png"], "--output: settings have no dashes"),
        (["image=digits:1", "reducer=tome,topk"], "reducer=tome,topk: a list is written reducer=[tome,topk]"),
    ],
)
def test_bad_input_is_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in complaint(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def test_it_is_a_module_that_explains_itself(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["visualise", "--help"])
    with pytest.raises(SystemExit, match="0"), pytest.warns(RuntimeWarning, match="found in sys.modules"):
        runpy.run_module("atc.visualise", run_name="__main__")
    shown = capsys.readouterr().out
    assert "--html cat.html" in shown
    assert "keep_rate: 0.5" in shown
