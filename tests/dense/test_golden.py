"""The same pyramids, partitions and gradients as the authors' code, in float64."""

import numpy as np
import pytest
import torch

from tests import golden
from tests.dense.adapters import image, released

GOLDEN = golden.outputs("detection")
CONFIGS = [key.removesuffix("|abs_mean") for key in GOLDEN if key.endswith("abs_mean") and key[0] in "AB"]
EVERY = {0: 24, 1: 6, 2: 1, 3: 1}  # channel of a level


def settings(config: str) -> dict:
    """The arguments of an adapter for a configuration such as "A|tome|r=0.5"."""
    _, reducer, *rest = config.split("|")
    if reducer == "dense":
        return {}
    unsized = {"proportional_attention": False, "size_weighted": False} if "prop=False" in rest else {}
    return {"reducer": reducer, "keep_rate": float(rest[0][2:]), **unsized}


def close(ours: torch.Tensor, theirs: np.ndarray, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def check_sources(made, prefix: str, exact: bool) -> None:
    for number, stage in enumerate(made.trace, start=1):
        theirs = np.atleast_2d(GOLDEN[f"{prefix}|source{number}"])
        same = np.array_equal(stage.source.numpy(), theirs) if exact else golden.same_partition(stage.source, theirs)
        assert same


@pytest.mark.parametrize("config", CONFIGS)
def test_pyramids(config):
    made = released(**settings(config), as_released=True)
    with torch.no_grad():
        maps = made(image(config[0]))
    close(torch.stack([one.abs().mean() for one in maps.values()]), GOLDEN[f"{config}|abs_mean"])
    for level, step in EVERY.items():
        if (key := f"{config}|level{level}") in GOLDEN:
            close(maps[str(level)][0, ::step], GOLDEN[key])
    check_sources(made, config, exact="tome" in config)


def test_atc_as_stated_is_the_same_in_float64():
    made = released("atc_complete", 0.25)
    with torch.no_grad():
        maps = made(image("B"))
    close(maps["3"][0], GOLDEN["B|atc_complete|r=0.25|level3"])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_gradients(mode):
    one = image("B")
    made = released("atc_average", 0.5, as_released=True).train(mode == "train")
    maps = made(torch.cat([one, one.flip(3)]))
    loss = sum((x * torch.arange(x.numel(), dtype=x.dtype).view_as(x).cos()).sum() / 100 for x in maps.values())
    loss.backward()
    prefix = f"grad|B+mirror|atc_average|r=0.5|{mode}"
    close(loss, GOLDEN[f"{prefix}|loss"])
    check_sources(made, prefix, exact=False)
    state, parameters = made.state_dict(), dict(made.named_parameters())
    compared = 0
    for key, theirs in GOLDEN.items():
        name = key.removeprefix(f"{prefix}|")
        if name == key or name == "loss" or name.startswith("source"):
            continue
        if "running" in name:
            close(state[name], theirs)
        else:
            close(parameters[name].grad[:, : theirs.shape[1]] if name == "pos_embed" else parameters[name].grad, theirs)
        compared += 1
    assert compared >= 14


def test_float32_gives_the_same_partitions():
    for config in ("A|atc_average|r=0.25", "B|tome|r=0.5", "A|atc_single|r=0.7"):
        made = released(**settings(config), as_released=True).float()
        with torch.no_grad():
            maps = made(image(config[0]).float())
        check_sources(made, config, exact="tome" in config)
        close(torch.stack([one.abs().mean() for one in maps.values()]), GOLDEN[f"{config}|abs_mean"], 1e-5)
