"""Candidates as settings and models, and the mildest one within a budget beside a search through all of them."""

from pathlib import Path

import pytest
import timm
import torch

from atc.choose.candidates import STRENGTHS, Candidate, EveryBlock, PerBlock, Uniform, UpTo, mildest


def test_settings_and_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Candidate("tome", keep_rate=(0.9, 0.5), blocks=(3, 6), clamp=True)
    assert stages.settings() == ["reducer=tome", "keep_rate=[0.9,0.5]", "blocks=[3,6]", "schedule.clamp=true"]
    assert Candidate("topk", "linear", t=4).command(["backbone=digits"]) == (
        "python evaluate.py backbone=digits reducer=topk schedule=linear t=4"
    )
    monkeypatch.chdir(tmp_path)  # no checkout
    assert stages.command([]).startswith("atc-evaluate reducer=tome ")


@pytest.mark.parametrize(
    ("candidate", "tokens"),
    [
        (Candidate("topk", keep_rate=0.5, blocks=(2, 3)), [8, 4]),
        (Candidate("atc_single", keep_rate=(0.75, 0.5), blocks=(2, 4)), [12, 6]),
        (Candidate("atc_single", "constant", t=2), [14, 12, 10, 8]),
        (Candidate("atc_single_dynamic", threshold=(1.99, 0.0), blocks=(2, 4)), [1, 1]),
        (Candidate("tome", keep_rate=0.1, blocks=(2,), clamp=True), [8]),
    ],
)
def test_its_model_keeps_what_the_schedule_says(candidate: Candidate, tokens: list[int]) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4, embed_dim=24, num_heads=3, num_classes=5)
    model = candidate.model(vit)
    model(torch.rand(1, 3, 64, 64))
    assert model.trace.tokens() == tokens


FAMILIES = [Uniform("topk", (4, 7, 10)), PerBlock("topk", (2, 5), (0.2, 0.8)), EveryBlock("topk", "constant", 32)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("budget", [0.05, 0.31, 0.5, 0.999])
def test_the_mildest_within_a_budget(family: Uniform | PerBlock | EveryBlock, budget: float) -> None:
    def share(candidate: Candidate) -> float:
        if candidate.t is not None:
            return 1 - candidate.t / 40
        rates = candidate.keep_rate if isinstance(candidate.keep_rate, tuple) else (candidate.keep_rate,)
        return 0.1 + 0.9 * sum(rates) / len(rates)

    every = [family.at(strength) for strength in range(1, STRENGTHS + 1)]
    within = [(share(one), one) for one in every if share(one) <= budget]
    found = mildest(family, share, budget)
    if not within:
        assert found is None
    else:
        assert found is not None
        assert found[1] == max(cost for cost, _ in within)
        assert found[0] in every


def test_distances_in_proportion() -> None:
    assert UpTo("atc_average_dynamic", (2, 5), (1.0, 0.5)).at(30).settings() == [
        "reducer=atc_average_dynamic",
        "threshold=[0.3,0.15]",
        "blocks=[2,5]",
    ]


def test_shares_stay_in_proportion() -> None:
    rates = PerBlock("topk", (2, 5, 8), (0.25, 0.5, 1.0)).at(84).keep_rate
    assert rates == (0.63, 0.4, 0.16)  # .16 ** .25, .16 ** .5, .16
