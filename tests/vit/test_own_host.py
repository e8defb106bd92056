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


def hosted(monkeypatch: pytest.MonkeyPatch, **names: Any) -> OtherNames:
    """A model whose host has these names in place of the right ones."""
    family = type("ItsHost", (OtherNamesHost,), {"shown": staticmethod(documented()), **names})
    monkeypatch.setattr(hosts, "families", lambda: iter([family]))
    return OtherNames().eval()


AT_WRAPPING: dict[str, tuple[dict[str, Any], str]] = {
    "no prefix": ({"prefix": None}, "prefix of its host ItsHost, the tokens before the patches, must be a whole"),
    "no width": ({"width": 0}, "width of its host ItsHost, the channels of a token, must be a whole number of 1"),
    "patches in no rows": (
        {"default_grid": (8, 9)}, "its host ItsHost has num_patches=64, of which default_grid must be the rows"
    ),
    "patches that are no number": ({"num_patches": 64.0, "default_grid": (8, None)}, "its host ItsHost has num_p"),
    "a head for logits only": (
        {"head": lambda self, x, size: x}, "head of its host ItsHost must take (x, size, pre_logits=False), and it "
    ),
    "refused without a reason": (
        {"refusal": lambda self: True}, "refusal of its host ItsHost must return the reason as text, or None, got True"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("names", "said"), AT_WRAPPING.values(), ids=AT_WRAPPING)
def test_what_a_host_lacks_is_said_at_wrapping(
    names: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hosted(monkeypatch, **names)
    with pytest.raises(ValueError, match=f"^{re.escape(f'cannot wrap this backbone: {said}')}") as error:
        atc.wrap(model, "topk", 0.5, blocks=(2, 3))
    assert "\n" not in str(error.value)


def shapes(batch: int, tokens: int, prefix: int = 1, width: int = 32, grid: str = "8 x 8") -> str:
    images = f"2 images, prefix={prefix}, a grid of {grid} patches and width={width}"
    return f"embed must return [{batch}, {tokens}, {width}] for {images}, got "


AT_EMBEDDING: dict[str, tuple[dict[str, Any], str]] = {
    "one prefix token too few": ({"prefix": 0}, shapes(2, 64, prefix=0) + "[2, 65, 32]: correct the one that is wrong"),
    "one prefix token too many": ({"prefix": 2}, shapes(2, 66, prefix=2) + "[2, 65, 32]"),
    "another width": ({"width": 33}, shapes(2, 65, width=33) + "[2, 65, 32]"),
    "another grid": ({"grid": lambda self, images: (7, 8)}, shapes(2, 57, grid="7 x 8") + "[2, 65, 32]"),
    "no grid": ({"grid": lambda self, images: None}, "grid must return the rows and columns of the patches, got None"),
    "tokens alone": (
        {"embed": lambda self, images: self.model.embedded(images)},
        "embed must return tokens [B, 1+N, 32], and rotary embeddings or None beside them, got torch.float32 [2, 65",
    ),
    "tokens of one image": (
        {"embed": lambda self, images: (self.model.embedded(images)[0], None)},
        "embed must return tokens [B, 1+N, 32], and rotary embeddings or None beside them, got (torch.float",
    ),
    "the batch second": (
        {"embed": lambda self, images: (self.model.embedded(images).transpose(0, 1), None)}, shapes(2, 65) + "[65, 2"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("names", "said"), AT_EMBEDDING.values(), ids=AT_EMBEDDING)
def test_tokens_that_do_not_fit_are_said(names: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = atc.wrap(hosted(monkeypatch, **names), "none")
    with pytest.raises(ValueError, match=f"^{re.escape(f'ItsHost.{said}')}") as error:
        wrapped(torch.zeros(2, 3, 32, 32))
    assert "\n" not in str(error.value)


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
