"""What other training scripts put around a backbone's weights: prefixes, averages, other modules, adapters."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import atc
from atc import run
from atc.vit.backbones import digits

State = dict[str, Tensor]
GOOD: State = digits().state_dict()
RAW: State = {key: value + 1 for key, value in GOOD.items()}
PREFIXES = ["_orig_mod.", "module._orig_mod.", "model.module.", "net.", "backbone.", "base_model.model.", "a.b.c."]


def under(prefix: str, state: State = GOOD) -> State:
    return {prefix + key: value for key, value in state.items()}


def taken(path: Path, use_ema: bool | None = None) -> tuple[str, list[str]]:
    """Which weights backbone.checkpoint=... and checkpoint=... take, and what they say of it."""
    vit = digits(checkpoint=str(path), use_ema=use_ema)
    model = atc.wrap(digits(pretrained=False), reducer="topk", keep_rate=0.5)
    said = run.load(model, path, use_ema)
    names = []
    for found in (vit.state_dict(), model.state_dict()):
        known = {"good": GOOD, "raw": RAW}
        names += [name for name, state in known.items() if all(torch.equal(found[key], state[key]) for key in state)]
    assert len(names) == 2, "neither set of weights"
    assert names[0] == names[1]
    assert said == vit.load_notices
    return names[0], said


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_stripped(tmp_path: Path, prefix: str) -> None:
    torch.save(under(prefix), tmp_path / "w.pth")
    assert taken(tmp_path / "w.pth") == ("good", [])


def test_other_modules_beside_the_prefix_are_named(tmp_path: Path) -> None:
    torch.save({**under("net."), "criterion.weight": torch.ones(3), "decoder.x": torch.ones(2)}, tmp_path / "w.pth")
    found, said = taken(tmp_path / "w.pth")
    assert found == "good"
    assert said == [f"{tmp_path / 'w.pth'}: 2 tensors of other modules are left out (criterion, decoder)"]


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": RAW, "state_dict_ema": GOOD},
        {"model": RAW, "model_ema": GOOD},
        {**under("model.", RAW), **under("ema.module.")},
        {**under("model.", RAW), **under("model_ema.module.")},
        {"state_dict": under("module.", RAW), "state_dict_ema": under("module.")},
    ],
    ids=["timm", "DeiT", "ema.", "model_ema.", "in parallel"],
)
def test_the_average_is_taken_as_timm_does(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    for use_ema, name, words in ((None, "good", "average"), (True, "good", "average"), (False, "raw", "raw weights")):
        found, said = taken(path, use_ema)
        assert (found, len(said)) == (name, 1)
        assert words in said[0]
        assert "use_ema=true|false chooses" in said[0]


def test_an_average_that_is_not_there(tmp_path: Path) -> None:
    torch.save(GOOD, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no moving average"):
        taken(tmp_path / "w.pth", True)
    torch.save({"model_ema": GOOD}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="only averaged weights"):
        taken(tmp_path / "w.pth", False)


def test_adapters_are_named(tmp_path: Path) -> None:
    key = "base_model.model.blocks.0.attn.qkv."
    state = {**under("base_model.model."), f"{key}lora_A.default.weight": torch.ones(2, 48)}
    state[f"{key}base_layer.weight"] = state.pop(f"{key}weight")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"adapters of PEFT .*merge_and_unload"):
        taken(tmp_path / "w.pth")


def test_prefix_tokens_are_counted(tmp_path: Path) -> None:
    """Before shapes are looked at, which would only name the positions."""
    state = dict(GOOD) | {"dist_token": torch.zeros(1, 1, 48)}
    state["pos_embed"] = torch.cat([GOOD["pos_embed"][:, :1], GOOD["pos_embed"]], dim=1)
    torch.save(state, tmp_path / "w.pth")
    message = r"holds 2 prefix tokens \(cls_token, dist_token\), the backbone has 1 \(cls_token\)"
    with pytest.raises(ValueError, match=message):
        digits(checkpoint=str(tmp_path / "w.pth"))
    with pytest.raises(ValueError, match=message):
        run.load(atc.wrap(digits(pretrained=False), reducer="topk", keep_rate=0.5), tmp_path / "w.pth")


def test_parameters_of_reducers_are_counted(tmp_path: Path) -> None:
    """Untrained ones, and learned ones that are dropped."""
    path = tmp_path / "w.pth"
    torch.save(GOOD, path)
    learning = atc.wrap(digits(pretrained=False), reducer="dpc_knn", keep_rate=0.5)
    lacks = f"{path} lacks the 6 parameters (147 numbers) that DPCKNN learns: they are untrained"
    assert run.load(learning, path) == [lacks]
    torch.save(learning.state_dict(), path)
    assert run.load(learning, path) == []
    dropped = f"{path}: 6 learned parameters (147 numbers) are left out, those of reducers, which "
    assert taken_notices(path) == [f"{dropped}TopK does not have", f"{dropped}a backbone does not have"]


def taken_notices(path: Path) -> list[str]:
    without = atc.wrap(digits(pretrained=False), reducer="topk", keep_rate=0.5)
    return [*run.load(without, path), *digits(checkpoint=str(path)).load_notices]
