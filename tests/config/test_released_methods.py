"""What a method's released checkpoints are made of is said by its class: a new one needs no edit in atc."""

import functools
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import atc
from atc import methods, run
from atc.config import released as settings
from atc.core import Plan, Reducer, Select, Stage, TokenView
from atc.vit.backbones import read_weights
from atc.weights import released
from tests.config.test_released import write

SOURCE = '''
"""A method with learned layers, which are named otherwise in the authors' checkpoints."""

from torch import nn

from atc.core import Count, Plan, Reducer, Select, Stage, TokenView


class Predictor(Reducer):
    """Keeps the tokens with the highest learned scores."""

    released_method = "dyvit"
    released_arguments = {"pred_hidden": "hidden", "pred_bias": "bias"}
    released_names = {"score_predictor.{stage}.in_conv.": "enter.", "score_predictor.{stage}.out_conv.": "leave."}

    def __init__(self, stage: Stage, hidden: Count = 4, bias: bool = True):
        super().__init__(stage)
        self.enter, self.leave = nn.Linear(stage.dim, hidden, bias=bias), nn.Linear(hidden, 1, bias=bias)

    def forward(self, view: TokenView, keep: int) -> Plan:
        score = self.leave(self.enter(view.x)).squeeze(-1)
        return Select(score.topk(keep, dim=1).indices, num_in=view.x.shape[1])
'''
STAGES = {"model": "dyvit_tiny_patch16_224", "reduction_loc": [0, 2]}


class Sampler(Reducer):
    """Learns under a name that no list of layers begins with; its release is known by its settings."""

    released_names = {"samplers.{stage}.": ""}

    def __init__(self, stage: Stage):
        super().__init__(stage)
        self.score = nn.Linear(stage.dim, 1)

    def forward(self, view: TokenView, keep: int) -> Plan:
        return Select(self.score(view.x).squeeze(-1).topk(keep, dim=1).indices, num_in=view.x.shape[1])


def vit() -> Any:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=32, depth=4, embed_dim=48, num_heads=3, num_classes=5)


@pytest.fixture
def predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class of a method in an installed package, which is called `predicted`."""
    info = tmp_path / "site" / "their_predictor-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-predictor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[atc.reducers]\npredicted = their_predictor:Predictor\n")
    (info.parent / "their_predictor.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(info.parent))
    yield importlib.import_module("their_predictor").Predictor
    sys.modules.pop("their_predictor", None)


def layers() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        f"score_predictor.{stage}.{part}.{kind}": torch.rand(shape)
        for stage in range(2)
        for part, sizes in (("in_conv", (7, 48)), ("out_conv", (1, 7)))
        for kind, shape in (("weight", sizes), ("bias", sizes[:1]))
    }


def test_layers_and_settings_of_a_method_from_outside(tmp_path: Path, predictor: Any) -> None:
    file = write(tmp_path / "w.pth", vit().state_dict() | layers(), None, **STAGES, pred_hidden=7, pred_bias=True)
    found = settings.settings(released.arguments(file))
    assert found.options["reducer"] == "predicted"
    assert found.values["reducer.hidden"] == 7
    assert found.values["reducer.bias"] is True
    model = atc.wrap(vit(), functools.partial(predictor, hidden=7), 0.5, blocks=[1, 3])
    assert run.load(model, file) == []
    for stage, block in enumerate("13"):
        for theirs, ours in (("in_conv", "enter"), ("out_conv", "leave")):
            given = layers()[f"score_predictor.{stage}.{theirs}.weight"]
            assert torch.equal(model.get_parameter(f"reducers.{block}.{ours}.weight"), given)
    assert "reducers.3.leave.bias" in read_weights(file)


@pytest.mark.parametrize("value", ["7", 0, 1.5, True, None])
def test_arguments_are_of_the_type_that_the_method_says(predictor: Any, value: Any) -> None:
    args = {"model": STAGES["model"], "reduction_loc": [1], "reduction_ratio": [0.5], "pred_hidden": value}
    with pytest.raises(ValueError, match=r"args\.pred_hidden is .*, which must be a whole number, 1 or more$"):
        settings.settings(args)


def test_a_class_handed_over_needs_no_name(tmp_path: Path) -> None:
    names = {f"samplers.{stage}.score.{kind}": torch.full(shape, float(stage))
             for stage in range(2) for kind, shape in (("weight", (1, 48)), ("bias", (1,)))}  # fmt: skip
    file = write(tmp_path / "w.pth", vit().state_dict() | names, None, **STAGES)
    model = atc.wrap(vit(), Sampler, 0.5, blocks=[1, 3])
    run.load(model, file)
    assert all(
        (p == (name.startswith("reducers.3"))).all() for name, p in model.reducers.named_parameters(prefix="reducers")
    )


def test_the_method_of_the_model_goes_before_others(tmp_path: Path) -> None:
    class Twin(Sampler):
        released_names = {"cluster_layers.{stage}.": ""}

    names = {f"cluster_layers.{stage}.score.{kind}": torch.ones(shape)
             for stage in range(2) for kind, shape in (("weight", (1, 48)), ("bias", (1,)))}  # fmt: skip
    file = write(tmp_path / "w.pth", vit().state_dict() | names, None, **STAGES)
    assert "reducers.1.weight.bias" in read_weights(file)  # as DPC-KNN has it
    model = atc.wrap(vit(), Twin, 0.5, blocks=[1, 3])
    run.load(model, file)
    assert all((parameter == 1).all() for parameter in model.reducers.parameters())


def test_names_of_files_and_classes() -> None:
    found = dict(methods.classes())
    assert {"atc_average", "tome", "dpc_knn", "none"} <= found.keys() == methods.targets().keys()
    assert found["none"].released_method == "deit"
