"""python -m atc.choose on digits: its table, record, picture and command; its measures beside plain ones."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from PIL import Image

from atc.choose import __main__ as command
from atc.choose import settings
from atc.choose.candidates import Candidate
from atc.choose.measures import Comparison, GFLOPs, Latency
from atc.choose.search import Search
from atc.config import build
from atc.vit.backbones import digits

ROOT = Path(__file__).parents[2]
SMALL = ["choose_on=40", "check_on=24", "batch_size=32", "front=[0.7]", "best=1", "threads=1"]


@pytest.fixture(scope="module")
def vit() -> torch.nn.Module:
    return digits().eval()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="an extra: pip install 'atc-toolkit[optuna]'")
    monkeypatch.chdir(tmp_path)
    given = [
        "datamodule=digits",
        "reducers=[topk,random,tome_2d]",
        "schedules=[stages,constant]",
        "trials=2",
    ]
    assert command.main([*given, *SMALL]) == 0
    said = capsys.readouterr()
    record = json.loads(Path("digits_front.json").read_text())
    assert Image.open("digits_front.png").width > 500
    assert "tome_2d, schedule=stages" in record["left_out"]
    tried = record["tried"]
    assert [row["found"] for row in tried[:6]] == ["grid"] * 4 + ["search"] * 2
    assert all(row["cost"] <= row["budget"] and 0 <= row["agreement"] <= 1 for row in tried)
    assert {row["budget"] for row in tried} == {0.5, 0.7}
    at_budget = [row for row in tried if row["budget"] == 0.5]
    best = max(at_budget, key=lambda row: (row["agreement"], -row["divergence"]))
    last = said.out.strip().splitlines()[-1]
    assert last == record["command"]
    assert shlex.split(last) == ["atc-evaluate", "datamodule=digits", "backbone=digits", *best["settings"]]
    assert set(record["checked"]) == {"topk", "random"}


def test_lines_of_the_page_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    python -m atc.choose (.*)$", (ROOT / "docs" / "choose.md").read_text(), re.M)
    assert len(lines) == 3
    for line in lines:
        with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
            settings.check_values(command.composed(command.overrides(shlex.split(line))))


def test_without_a_search_optuna_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the images of a folder, by the time that models take."""
    for number in range(8):
        Image.effect_noise((28, 28), 90).convert("RGB").save(tmp_path / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    given = [f"images={tmp_path}", "backbone=digits", "reducers=[random]", "schedules=[stages]", "trials=0", "front=[]"]
    given += ["choose_on=4", "check_on=4", "cost=latency", "seconds=0.001", "budget=0.95"]
    assert command.main([*given, "output=one.svg"]) == 0
    record = json.loads(Path("one.json").read_text())
    assert record["cost"] == "latency"
    assert [row["settings"][0] for row in record["tried"]] == ["reducer=random"]
    assert "<svg" in Path("one.svg").read_text()


def test_agreement_is_that_of_plain_predictions(vit: torch.nn.Module) -> None:
    images = torch.rand(24, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    comparison = Comparison(vit, images, 16, 5, seed=0)
    candidate = Candidate("topk", keep_rate=0.2, blocks=(2, 3))
    for part, some in (("choose", images[:16]), ("check", images[16:])):
        with torch.no_grad():
            dense, own = vit(some).softmax(1), candidate.model(vit)(some).softmax(1)
        found = comparison.agreement(candidate, part)
        assert found.top1 == (dense.argmax(1) == own.argmax(1)).double().mean().item()
        expected = (dense * (dense / own).log()).sum(1).mean().item()
        assert -found.divergence == pytest.approx(expected, rel=1e-4)
    unchanged = comparison.agreement(Candidate("topk", keep_rate=1.0, blocks=(2,)))
    assert unchanged == pytest.approx((1.0, 0.0), abs=1e-9)


def test_costs_fall_with_what_is_removed(vit: torch.nn.Module) -> None:
    images = torch.rand(8, 3, 28, 28)
    mild, strong = (Candidate("random", keep_rate=rate, blocks=(2, 3)) for rate in (0.9, 0.05))
    assert GFLOPs(vit, images)(strong) < GFLOPs(vit, images)(mild) < 1
    assert GFLOPs(vit, images)(Candidate("random", keep_rate=1.0, blocks=(2,))) == pytest.approx(1)
    assert 0 < Latency(vit, images, 0.05)(strong) < 1


def test_methods_up_to_a_distance_have_a_threshold_for_stages_only(vit: torch.nn.Module) -> None:
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    search = Search(Comparison(vit, images, 4, 4, seed=0), GFLOPs(vit, images), 12, 49)
    search.grid(["atc_single_dynamic"], ["stages", "constant"], (6,), 0.9)
    (one,) = search.tried
    assert one.cost <= 0.9
    assert one.candidate.threshold is not None
    assert one.candidate.settings()[1] == f"threshold={one.candidate.threshold}"
    assert list(search.left_out) == ["atc_single_dynamic, schedule=constant"]


def test_the_front_has_what_nothing_beats(vit: torch.nn.Module) -> None:
    images = torch.rand(12, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    search = Search(Comparison(vit, images, 12, 12, seed=0), GFLOPs(vit, images), 12, 49)
    for budget in (0.3, 0.6, 0.9):
        search.grid(["topk", "random"], ["stages"], (3, 6), budget)
    found = list(search.front())
    for one in search.tried:
        beaten = [
            other for other in search.tried if other.cost <= one.cost and other.agreement.top1 > one.agreement.top1
        ]
        assert (one in found) == (not beaten) or any(
            other.cost <= one.cost and other.agreement.top1 == one.agreement.top1 for other in found
        )
    assert [one.cost for one in found] == sorted(one.cost for one in found)
