"""Checkpoints of the authors' ViT-Adapter in an adapter."""

import pytest
import torch

from tests.dense.adapters import adapter, image, released, vit, weights


def forward(made):
    with torch.no_grad():
        return made(image("B").to(made.level_embed.dtype))["2"]


def test_a_prefix_and_a_wrapping_are_taken():
    made = adapter().double()  # before loading
    made.load_released({"state_dict": {f"backbone.{name}": value for name, value in weights().items()}, "meta": {}})
    assert torch.equal(forward(made), forward(released()))


def test_what_is_not_used_may_be_missing():
    state = {k: v for k, v in weights().items() if k != "cls_token" and not k.startswith(("norm.", "head."))}
    state["norm1.num_batches_tracked"] = torch.tensor(7)
    made = adapter()
    made.load_released(state)
    assert int(made.norm1.num_batches_tracked) == 7
    assert torch.equal(forward(made.double()), forward(released()))


@pytest.mark.parametrize(
    "settings", [{"img_size": 64}, {"class_token": False, "global_pool": "avg"}, {"img_size": (192, 256)}]
)
def test_positions_are_kept_whole_whatever_the_vit(settings):
    made = adapter(model=vit(**settings))
    made.load_released(weights())
    assert torch.equal(made.pos_embed.detach(), weights()["pos_embed"])
    assert torch.equal(forward(made.double()), forward(released()))
    again = adapter(model=vit(**settings))
    again.load_state_dict(made.state_dict())
    assert torch.equal(forward(again.double()), forward(made))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"up.bias": None}, "the checkpoint lacks up.bias"),
        ({"pos_embed": None}, "the checkpoint lacks pos_embed"),
        ({"neck.weight": torch.zeros(1)}, "the checkpoint has also neck.weight"),
        ({"norm5.weight": torch.zeros(1)}, "has also norm5.weight"),
        ({"up.bias": torch.zeros(3)}, r"up.bias must be \[48\] for this ViTAdapter, the checkpoint has \[3\]"),
        ({"pos_embed": torch.zeros(1, 200, 48)}, r"pos_embed must be \[1, 197, 48\]"),
        ({"pos_embed": torch.zeros(1, 197, 24)}, r"pos_embed must be \[1, 197, 48\]"),
        ({"up.bias": 3}, "the checkpoint has a int"),
    ],
)
def test_anything_else_is_refused_and_nothing_loaded(change, message):
    made = adapter()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    state = {name: value for name, value in {**weights(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message) as caught:
        made.load_released(state)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_a_path_is_no_state_dict():
    with pytest.raises(ValueError, match=r"must map names to tensors, .* got a str"):
        adapter().load_released("vit-adapter.pth")


def test_learned_reducers_keep_their_parameters():
    made = adapter("dynamic_vit", 0.5)
    own = {name: value.clone() for name, value in made.reducers.state_dict().items()}
    made.load_released(weights())
    assert own
    assert all(torch.equal(value, own[name]) for name, value in made.reducers.state_dict().items())
