"""Models that cannot be wrapped, and tools that cannot follow a wrapped one, are refused with the reason."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from tests.vit.wrapped import images, vit, wrapped


@pytest.mark.parametrize("how", ["fx", "script"])
def test_what_reads_python_is_refused_in_a_line(how: str) -> None:
    trace = torch.fx.symbolic_trace if how == "fx" else torch.jit.script
    with pytest.raises(ValueError, match=r"cannot follow how a wrapped model chooses its tokens; torch\.export"):
        trace(wrapped())


def test_hooks_and_patches_are_refused_by_name() -> None:
    def watch(*_: Any) -> None: ...

    host = vit()
    handle = host.blocks[1].register_forward_hook(watch)
    with pytest.raises(ValueError, match=r"block 2 \(Block\) has the hook .*watch, which would not run"):
        wrapped("tome", host)
    handle.remove()
    model = wrapped("tome", host)
    handle = host.blocks[2].attn.register_forward_pre_hook(watch)
    with pytest.raises(ValueError, match=r"the attention of block 3 \(Attention\) has the hook"):
        model(images())
    handle.remove()
    calls: list[int] = []
    host.blocks[2].mlp.register_forward_hook(lambda *_: calls.append(1))
    model(images())
    assert calls == [1]
    patched = vit()
    patched.blocks[0].attn.forward = lambda x: x
    with pytest.raises(ValueError, match=r"the forward of the attention of block 1 \(Attention\) was replaced"):
        wrapped("tome", patched)


def test_subclasses_and_compiled_models() -> None:
    class Own(timm.models.vision_transformer.VisionTransformer):
        def forward_features(self, x: Tensor) -> Tensor:
            return x

    class Positions(timm.models.vision_transformer.VisionTransformer):
        def _pos_embed(self, x: Tensor) -> Tensor:
            return super()._pos_embed(x) + 1

    small: dict[str, Any] = {"img_size": 64, "depth": 4, "embed_dim": 24, "num_heads": 2, "num_classes": 5}
    with pytest.raises(ValueError, match="Own has a forward_features of its own"):
        wrapped("tome", Own(**small))
    moved = Positions(**small).eval()
    assert torch.equal(wrapped("none", moved)(images()), moved(images()))
    with pytest.raises(ValueError, match=r"it is compiled; wrap the model that was compiled \(model\._orig_mod\)"):
        wrapped("tome", torch.compile(vit()))
    in_place = vit()
    in_place.compile(backend="eager")
    with pytest.raises(ValueError, match=r"compiled in place"):
        wrapped("tome", in_place)
