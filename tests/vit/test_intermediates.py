"""Feature maps of several blocks, in timm's form, on the full grid."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import atc
from tests.vit.test_module import images, vit, wrapped


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224", "vit_base_patch16_siglip_224"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"indices": 2},
        {"indices": [0, 2], "norm": True, "output_fmt": "NLC"},
        {"indices": [1], "stop_early": True, "intermediates_only": True},
        {"indices": 2, "return_prefix_tokens": True},
        {"indices": 2, "return_prefix_tokens": True, "output_dict": True, "norm": True},
    ],
)
@torch.no_grad()
def test_without_reduction_equals_timm(name: str, settings: dict[str, Any]) -> None:
    size = 56 if "14" in name.split("patch")[1][:2] else 64
    host = timm.create_model(name, img_size=size, depth=4, embed_dim=24, num_heads=2, num_classes=5).eval()
    x = torch.randn(2, 3, size, size)
    if name.startswith("eva") and "output_dict" in settings:
        settings = {key: value for key, value in settings.items() if key != "output_dict"}  # of ViTs alone
    _equal(atc.wrap(host, "none").forward_intermediates(x, **settings), host.forward_intermediates(x, **settings))
    if hasattr(host, "get_intermediate_layers"):  # which Eva has not
        layers = {"n": 2, "reshape": True, "norm": True}
        _equal(atc.wrap(host, "none").get_intermediate_layers(x, **layers), host.get_intermediate_layers(x, **layers))


def _equal(ours: Any, timms: Any) -> None:
    assert type(ours) is type(timms)
    if isinstance(timms, Tensor):
        assert torch.equal(ours, timms)
    elif isinstance(timms, dict):
        assert ours.keys() == timms.keys()
        for key in timms:
            _equal(ours[key], timms[key])
    else:
        assert len(ours) == len(timms)
        for one, other in zip(ours, timms, strict=True):
            _equal(one, other)


@pytest.mark.parametrize("name", ["atc_average", "topk", "evit"])
@torch.no_grad()
def test_expanded_by_the_definition(name: str) -> None:
    """Every patch has the value of its token; a pruned one that it had when it was last there."""
    model = wrapped(name)
    x = images()
    final, maps = model.forward_intermediates(x, output_fmt="NLC")
    assert torch.equal(final, model.forward_features(x))
    stream, source = model.start(x), torch.arange(16).expand(2, 16)
    for number in range(1, 5):
        stream.step(number)
        reduced = [stage for stage in stream.stages if stage.block == number]
        source = reduced[0].source if reduced else source
        for b in range(2):
            for patch in range(16):
                token = int(source[b, patch])
                if token >= 0:
                    assert torch.equal(maps[number - 1][b, patch], stream.x[b, 1 + token])
    if name == "topk":
        gone = (stream.source < 0).nonzero()
        assert len(gone) == 2 * 12
        assert all(maps[-1][b, patch].any() for b, patch in gone.tolist())
        first_gone = (stream.stages[0].source < 0).nonzero()
        assert all(torch.equal(maps[1][b, p], maps[3][b, p]) for b, p in first_gone.tolist())


@torch.no_grad()
def test_tokens_as_they_are() -> None:
    maps = wrapped().forward_intermediates(images(), output_fmt="NLC", intermediates_only=True, expand=False)
    assert [tokens.shape[1] for tokens in maps] == [16, 8, 4, 4]
    with pytest.raises(ValueError, match=r"8 tokens are no map of 4 x 4 patches: expand=True gives"):
        wrapped().forward_intermediates(images(), expand=False)
    with pytest.raises(ValueError, match="output_fmt=NHWC is neither"):
        wrapped().forward_intermediates(images(), output_fmt="NHWC")


def test_gradients_reach_every_patch_of_an_expanded_map() -> None:
    x = images().requires_grad_()
    (deep,) = wrapped("atc_average").forward_intermediates(x, 1, intermediates_only=True)
    deep.square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(dim=1) > 0).all()


def test_the_model_is_not_touched() -> None:
    host: nn.Module = vit()
    assert host.blocks[0]._forward_hooks == {}
    wrapped("tome", host).forward_intermediates(images())
    assert type(host.blocks[0]).__name__ == "Block"
