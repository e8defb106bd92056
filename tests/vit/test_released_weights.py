"""`atc.load_released_weights`: the authors' weights in a model that is wrapped already."""

import argparse

import numpy as np
import pytest
import torch

import atc
from tests import golden

METHODS = {"sit": "sit", "sinkhorn": "sinkhorn", "patchmerger": "patch_merger", "dyvit": "dynamic_vit",
           "dpcknn": "dpc_knn"}  # fmt: skip
WITHIN = {"rtol": 1e-9, "atol": 1e-9}


def learned(tag):
    found, start = golden.outputs("stages_all_methods_params"), f"{tag}|r=0.5|"
    return {key.removeprefix(start): found[key] for key in found if key.startswith(start)}


def wrapped(tag, blocks=(4, 7, 10), dtype=torch.float64, keep_rate=0.5):
    return atc.wrap(golden.vit(dtype=dtype), METHODS[tag], keep_rate, blocks, as_released=True)


def check(model, tag):
    with torch.no_grad():
        logits = model(golden.images()).numpy()
    np.testing.assert_allclose(logits, golden.outputs("stages_all_methods")[f"{tag}|r=0.5|logits"], **WITHIN)


@pytest.mark.parametrize("tag", METHODS)
def test_layers_alone_give_the_authors_logits(tag):
    model = wrapped(tag)
    assert atc.load_released_weights(model, learned(tag)) == []  # NumPy's float32
    check(model, tag)
    for value in model.state_dict().values():
        assert value.dtype == torch.float64


@pytest.mark.parametrize("tag", METHODS)
@pytest.mark.parametrize("ema_best", [True, np.bool_(False)])
def test_a_whole_checkpoint(tag, ema_best):
    good = {key: torch.as_tensor(value) for key, value in learned(tag).items()}
    good |= golden.vit(dtype=torch.float32).state_dict()
    bad = {key: torch.zeros_like(value) for key, value in good.items()}
    averaged, raw = (good, bad) if ema_best else (bad, good)
    checkpoint = {"model": raw, "model_ema": averaged, "ema_best": ema_best, "epoch": 29, "optimizer": {"state": {}},
                  "args": argparse.Namespace(model=f"{tag}_tiny_patch16_224", reduction_loc=[3, 6, 9])}  # fmt: skip
    model = wrapped(tag)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 2.0)
    assert atc.load_released_weights(model, checkpoint) == []
    check(model, tag)


def test_entries_go_to_the_blocks_that_reduce_in_order():
    model, layers = wrapped("dpcknn", blocks=(2, 5, 11)), learned("dpcknn")
    atc.load_released_weights(model, layers)
    for stage, block in enumerate(("2", "5", "11")):
        given = torch.from_numpy(layers[f"cluster_layers.{stage}.score.weight"]).double()
        assert torch.equal(model.reducers[block].weight.weight, given)


def test_what_finds_no_place_is_returned():
    layers = learned("sinkhorn")
    model = wrapped("sinkhorn", blocks=(4, 7))
    assert atc.load_released_weights(model, layers) == ["cluster_layers.2.v"]
    other = wrapped("sinkhorn", keep_rate=0.7)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    assert atc.load_released_weights(other, layers) == list(layers)
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())
    head = {"head.weight": torch.zeros(7, 48), "head.bias": torch.zeros(10), "epoch": 3, "new.weight": torch.ones(1)}
    assert atc.load_released_weights(other, head) == ["head.weight", "epoch", "new.weight"]
    assert not other.get_parameter("head.bias").any()


def test_of_an_inert_bias_it_says_that_there_is_no_place():
    model = atc.wrap(golden.vit(), "sit", 0.5)
    left = atc.load_released_weights(model, learned("sit"))
    assert left == [f"cluster_layers.{stage}.weight.3.bias" for stage in range(3)]
    check(model, "sit")


def test_methods_without_layers_take_the_backbone():
    state = {f"module.{key}": value for key, value in golden.vit(dtype=torch.float32).state_dict().items()}
    layers = {f"module.{key}": value for key, value in learned("dpcknn").items()}
    model = atc.wrap(golden.vit(dtype=torch.bfloat16), "topk", 0.5)
    torch.nn.init.zeros_(model.get_parameter("head.weight"))
    assert atc.load_released_weights(model, state | layers) == list(layers)
    assert torch.equal(model.get_parameter("head.weight"), state["module.head.weight"].bfloat16())


def test_a_state_dict_of_the_model_itself_and_a_compiled_model():
    source, target = wrapped("patchmerger"), wrapped("patchmerger")
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    assert atc.load_released_weights(torch.compile(target), {"state_dict": source.state_dict()}) == []
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in target.state_dict().items())


@pytest.mark.parametrize(
    ("model", "state", "message"),
    [
        (torch.nn.Linear(1, 1), {}, "takes what atc.wrap returned, not a Linear$"),
        (None, "best_checkpoint.pth", r"must map names to tensors, as torch.load\(FILE\) returns it, got a str$"),
    ],
)
def test_other_arguments_are_refused(model, state, message):
    with pytest.raises(TypeError, match=message):
        atc.load_released_weights(model or wrapped("dpcknn"), state)


def test_gradients_and_training_go_on():
    model = wrapped("patchmerger").train()
    atc.load_released_weights(model, learned("patchmerger"))
    model(golden.images()).sum().backward()
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in model.reducers.parameters())
