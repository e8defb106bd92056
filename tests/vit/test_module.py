"""A wrapped model is a module like any other: names, copies, optimisers, transforms, engines."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import atc
from atc.vit.backbones import digits
from tests.vit.wrapped import METHODS, images, vit, wrapped


@pytest.mark.parametrize("name", ["atc_average", "dpc_knn"])
def test_one_set_of_names(name: str) -> None:
    host = vit()
    model = wrapped(name, host)
    parameters = dict(model.named_parameters())
    assert set(parameters) == set(model.state_dict())
    assert [key for key in parameters if not key.startswith("reducers.")] == [key for key, _ in host.named_parameters()]
    assert all(parameters[key] is value for key, value in host.named_parameters())
    assert {key for key, _ in host.named_modules()} <= {key for key, _ in model.named_modules()}
    assert not any(key.startswith("reducers") for key in host.state_dict())


@pytest.mark.parametrize("name", METHODS)
def test_copies_after_a_training_forward(name: str) -> None:
    model = wrapped(name).train()
    model(images()).sum().backward()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again.state_dict().keys() == model.state_dict().keys()
        assert again.host.model is not model.host.model
        assert again.head.weight is again.host.model.head.weight
        assert torch.equal(again.eval()(images()), model.eval()(images()))
        with torch.no_grad():
            again.blocks[0].mlp.fc1.weight.zero_()
        assert not torch.equal(again(images()), model(images()))
        model.train()


def test_the_surface_of_the_model() -> None:
    host = vit()
    model = wrapped("atc_average", host)
    for name in (
        "num_features",
        "num_classes",
        "embed_dim",
        "num_prefix_tokens",
        "global_pool",
        "patch_embed",
        "blocks",
    ):
        assert getattr(model, name) is getattr(host, name) or getattr(model, name) == getattr(host, name)
    assert model.no_weight_decay() == host.no_weight_decay()
    assert model.group_matcher() == host.group_matcher()
    assert model.get_classifier() is host.head
    model.set_grad_checkpointing()
    assert host.grad_checkpointing
    model.reset_classifier(7)
    assert (model.num_classes, model(images()).shape) == (7, (2, 7))
    assert model.state_dict()["head.weight"].shape == (7, 24)
    host.reset_classifier(3)  # on the model itself: the wrapper follows
    assert model.state_dict()["head.weight"].shape == (3, 24)
    assert model(images()).shape == (2, 3)
    model.head = nn.Linear(24, 9)
    assert host.head is model.head
    with pytest.raises(AttributeError, match=r"no prune_intermediate_layers: the model's own would run without"):
        model.prune_intermediate_layers(1)
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = model.colour


def test_features_and_head_mean_what_timms_mean() -> None:
    host = vit(global_pool="avg")
    dense, model = wrapped("none", host), wrapped("atc_average", host)
    assert torch.equal(dense.forward_features(images()), host.forward_features(images()))
    for shown in (dense, model):
        features = shown.forward_features(images())
        assert torch.equal(shown.forward_head(features), shown(images()))
        assert torch.equal(shown.head(shown.forward_head(features, pre_logits=True)), shown(images()))
    assert model.forward_features(images()).shape == (2, 1 + 4, 24)


def test_a_stream_can_be_stepped() -> None:
    model = wrapped()
    stream = model.start(images())
    counts = []
    for number in range(1, model.depth + 1):
        stream.step(number)
        counts.append(stream.num_tokens)
    assert counts == [16, 8, 4, 4]
    assert torch.equal(stream.finish(), model(images()))


@pytest.mark.parametrize(
    ("ran", "number", "said"),
    [
        (0, 0, "block 1 of 4 is next; each block runs once, in order, and blocks are counted from 1"),
        (0, -1, "block 1 of 4 is next"),
        (0, 2, "block 1 of 4 is next"),
        (1, 1, "block 2 of 4 is next"),
        (4, 5, "all 4 blocks have run"),
        (4, 1, "all 4 blocks have run"),
    ],
)
def test_a_block_that_is_not_the_next_is_said(ran: int, number: int, said: str) -> None:
    stream = wrapped().start(images())
    for block in range(1, ran + 1):
        stream.step(block)
    with pytest.raises(ValueError, match=f"^{re.escape(f'step({number}): {said}')}"):
        stream.step(number)


def test_weights_on_other_types() -> None:
    double = wrapped("dpc_knn", vit().double())
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    assert double(images().double()).dtype == torch.float64
    assert wrapped("dpc_knn").to("meta").reducers["2"].weight.weight.is_meta


def test_whole_model_saved(tmp_path: Path) -> None:
    model = wrapped("dpc_knn")
    torch.save(model, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(again(images()), model(images()))


def test_state_dicts_of_before_and_plain_ones() -> None:
    model, other = wrapped("dpc_knn"), vit()
    nn.init.normal_(other.head.weight)
    assert not model.load_state_dict(other.state_dict()).missing_keys
    assert torch.equal(model.head.weight, other.head.weight)
    old = {key if key.startswith("reducers.") else f"vit.{key}": value + 1 for key, value in model.state_dict().items()}
    model.load_state_dict(old)
    assert torch.equal(model.head.weight, other.head.weight + 1)
    plain = atc.unwrap(model).state_dict()
    assert plain.keys() == vit().state_dict().keys()


def test_patch_dropout_is_fine_in_evaluation() -> None:
    model = wrapped("tome", vit(patch_drop_rate=0.25))
    assert model(images()).shape == (2, 5)
    with pytest.raises(ValueError, match="patch_drop_rate=0 to train it"):
        model.train()(images())


def test_digits_still_learns() -> None:
    model = atc.wrap(digits(), "dpc_knn", 0.5).train()
    model(torch.randn(2, 3, 28, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
