"""A host for layers with names of their own, as docs/hosts.md has it, and one that forgets some."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import atc
from atc.config import build, frozen
from atc.config.objects import build_model
from atc.vit import host as hosts
from atc.vit.images import data_config
from atc.vit.parts import Part, attention_part, block_part
from tests.harness.commands import composed
from tests.reducers.amounts import amount
from tests.vit.other_names import OtherNames, OtherNamesHost

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "hosts.md").read_text(encoding="utf-8")
PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "proj": "out"}
NAMES = {"norm1": "before", "norm2": "between", "mlp": "feed_forward"}
METHODS = [name for name in build.names("reducer") if name != "none"]


def served(monkeypatch: pytest.MonkeyPatch, shown: Callable[[Any], Part]) -> OtherNames:
    """A model whose layers are shown so."""
    family = type("ItsHost", (OtherNamesHost,), {"shown": staticmethod(shown)})
    monkeypatch.setattr(hosts, "families", lambda: iter([family]))
    torch.manual_seed(0)
    return OtherNames().eval()


def documented() -> Callable[[Any], Part]:
    scope: dict[str, Any] = {}
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "attention_part" in block)
    exec(block, scope)
    return scope["shown"]


def test_dense_is_the_model_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = served(monkeypatch, documented()), torch.randn(3, 3, 32, 32)
    assert torch.equal(atc.wrap(model, "none")(images), model(images))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_and_learns(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served(monkeypatch, documented())
    wrapped = atc.wrap(model, method, **amount(method), blocks=(2,) if method == "tome_2d" else (2, 3))
    with torch.no_grad(), atc.check_plans():
        assert wrapped(torch.randn(3, 3, 32, 32)).shape == (3, 5)
    wrapped.train()(torch.randn(3, 3, 32, 32)).square().sum().backward()
    assert model.patches.weight.grad.abs().sum() > 0


def without_a_width(layer: Any) -> Part:
    return block_part(layer, NAMES, attn=attention_part(layer.attention, PROJECTIONS))


def without_norms(layer: Any) -> Part:
    attention = attention_part(layer.attention, PROJECTIONS, head_dim=16)
    return block_part(layer, {"mlp": "feed_forward"}, attn=attention)


def without_projections(layer: Any) -> Part:
    return block_part(layer, NAMES, attn=attention_part(layer.attention, {"proj": "out"}, head_dim=16))


def by_hand(layer: Any) -> Part:
    return Part(layer, NAMES, {"attn": Part(layer.attention, PROJECTIONS)})


def misspelt(layer: Any) -> Part:
    attention = attention_part(layer.attention, PROJECTIONS | {"proj": "output.dense"}, head_dim=16)
    return block_part(layer, NAMES, attn=attention)


@pytest.mark.parametrize(
    ("shown", "lacks"),
    [
        (without_a_width, "attn.head_dim, attn.scale"),
        (without_norms, "norm1, norm2"),
        (without_projections, "attn.q_proj, attn.k_proj, attn.v_proj"),
        (misspelt, "attn.proj"),
        (by_hand, "drop_path1, drop_path2, ls1, ls2, attn.head_dim, attn.scale, attn.qkv, attn.fused_attn, "
                  "attn.attn_drop, attn.q_norm, attn.k_norm, attn.norm, attn.proj_drop"),
        (lambda layer: Part(layer, NAMES), "drop_path1, drop_path2, attn, ls1, ls2"),
    ],
)  # fmt: skip
def test_what_a_block_lacks_is_said_at_wrapping(
    shown: Callable[[Any], Part], lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served(monkeypatch, shown)
    said = f"cannot wrap this backbone: its host ItsHost shows block 1 without {lacks}; block_part and attention_part"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        atc.wrap(model, "topk", 0.5, blocks=(2, 3))


def test_the_width_has_the_names_that_timm_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = atc.wrap(served(monkeypatch, documented()), "none")
    assert wrapped.embed_dim == wrapped.num_features == 32
    with pytest.raises(AttributeError, match="no attribute 'head_hidden_size'"):
        _ = wrapped.head_hidden_size


@pytest.mark.parametrize("shape", [(3, 32, 32), (32, 32), (1, 2, 3, 32, 32)])
def test_what_is_no_batch_of_images_is_said(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = atc.wrap(served(monkeypatch, documented()), "tome", 0.5, blocks=(2,))
    with pytest.raises(ValueError, match=re.escape(f"images must be [B, 3, H, W], got {list(shape)}; one image is")):
        wrapped(torch.zeros(shape))


def test_a_backbone_that_does_not_say_which_images_it_takes() -> None:
    model = OtherNames()
    with pytest.raises(ValueError, match=r"^this OtherNames does not say which images it takes: set its pretrained_c"):
        data_config(model)
    model.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    assert data_config(model)["input_size"] == (3, 32, 32)
    assert data_config(model)["std"] == (0.25,) * 3


def test_what_cannot_be_computed_again_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served(monkeypatch, documented())
    model.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    monkeypatch.setattr(frozen, "build_backbone", lambda *_, **__: model)
    cfg = composed("train", tmp_path, "blocks=[2,3]", "activation_checkpointing=true")
    with pytest.raises(ValueError, match=r"^activation_checkpointing=true: this OtherNames has no set_grad_checkp"):
        build_model(cfg)
    assert build_model(composed("train", tmp_path, "blocks=[2,3]")).vit is model
