"""With the same weights, a model of timm and one of Hugging Face transformers reduce to the same tokens, to the bit."""

from functools import partial
from typing import Any

import pytest
import timm
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import atc
from tests.vit.pretrained import pictures, pretrained

METHODS = ("none", "atc_average", "atc_single", "atc_complete", "tome", "dpc_knn", "random", "kmedoids", "topk", "evit")
NAMES = (
    "ViTModel",
    "DeiTModel",
    "Dinov2Model",
    "Dinov2WithRegistersModel",
    "DINOv3ViTModel",
    "CLIPVisionModel",
    "SiglipVisionModel",
    "ViTMAEModel",
)


def _blocks(host: Any) -> dict[str, Tensor]:
    state = {}
    for index, block in enumerate(host.blocks):
        module, mlp, attn = block.module, block.mlp, block.attn
        fc1 = getattr(mlp, "fc1", None) or getattr(mlp, "up_proj", None) or module.intermediate.dense
        fc2 = getattr(mlp, "fc2", None) or getattr(mlp, "down_proj", None) or module.output.dense
        layers = {"norm1": block.norm1, "norm2": block.norm2, "attn.proj": attn.proj, "mlp.fc1": fc1, "mlp.fc2": fc2}
        for name, layer in layers.items():
            state |= {f"blocks.{index}.{name}.{key}": value for key, value in layer.state_dict().items()}
        qkv = [attn.q_proj, attn.k_proj, attn.v_proj]
        state[f"blocks.{index}.attn.qkv.weight"] = torch.cat([layer.weight for layer in qkv])
        biases = [torch.zeros_like(qkv[0].bias) if layer.bias is None else layer.bias for layer in qkv]
        state[f"blocks.{index}.attn.qkv.bias"] = torch.cat(biases)
        if hasattr(module, "layer_scale1"):
            state[f"blocks.{index}.ls1.gamma"] = module.layer_scale1.lambda1
            state[f"blocks.{index}.ls2.gamma"] = module.layer_scale2.lambda1
    return state


def _twin(model: nn.Module) -> nn.Module:
    """The same weights in timm's model."""
    host = atc.wrap(model, "none").host
    trunk, family, found = host.trunk, host.family, host.trunk.embeddings
    state = _blocks(host)
    patches = getattr(found, "patch_embeddings", None) or found.patch_embedding
    patches = getattr(patches, "projection", patches)
    state |= {f"patch_embed.proj.{key}": value for key, value in patches.state_dict().items()}
    norm = next(getattr(trunk, n) for n in ("layernorm", "post_layernorm", "norm") if hasattr(trunk, n))
    state |= {f"norm.{key}": value for key, value in norm.state_dict().items()}
    made: Any = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 4, "num_heads": 2, "num_classes": 0}
    made |= {"mlp_ratio": 2, "norm_layer": partial(nn.LayerNorm, eps=host.config.layer_norm_eps)}
    if family == "dinov3_vit":
        del made["norm_layer"], made["patch_size"]
        vit = timm.create_model("vit_small_patch16_dinov3_qkvb", **made)
        for index in range(4):
            for name in ("ls1", "ls2"):
                state[f"blocks.{index}.gamma_{name[-1]}"] = state.pop(f"blocks.{index}.{name}.gamma")
            bias = state.pop(f"blocks.{index}.attn.qkv.bias").chunk(3)
            state |= {f"blocks.{index}.attn.{name}_bias": b for name, b in zip("qkv", bias, strict=True)}
            state.pop(f"blocks.{index}.attn.k_bias")
        state |= {"cls_token": found.cls_token, "reg_token": found.register_tokens}
        vit = vit.double().eval()
        missing = vit.load_state_dict(state, strict=False)
        assert all("rope" in key or "k_bias" in key for key in missing.missing_keys)
        assert not missing.unexpected_keys
        # The two libraries round their tables of rotary positions differently (1e-7): both get the same here.
        cos, sin = trunk.rope_embeddings(pictures().double())
        vit.rope.get_embed = lambda *_, **__: torch.cat([sin, cos], dim=-1)
        return vit
    if family.startswith("dinov2"):
        made |= {"init_values": 1.0, "mlp_ratio": 4}
    if family == "clip":
        made |= {"pre_norm": True, "act_layer": "quick_gelu"}
        state |= {f"norm_pre.{key}": value for key, value in trunk.pre_layrnorm.state_dict().items()}
        state["cls_token"] = found.class_embedding[None, None]
    if family == "siglip":
        made |= {"class_token": False, "global_pool": "avg", "fc_norm": False, "act_layer": "gelu_tanh"}
    else:
        state.setdefault("cls_token", getattr(found, "cls_token", None))
    if family in ("clip", "siglip"):
        state["pos_embed"] = found.position_embedding.weight[None]
    else:
        state["pos_embed"] = found.position_embeddings
    if family == "deit":
        state["dist_token"] = found.distillation_token
    if family == "dinov2_with_registers":
        made |= {"reg_tokens": 4, "no_embed_class": True}
        state["cls_token"] = found.cls_token + state["pos_embed"][:, :1]
        state |= {"reg_token": found.register_tokens, "pos_embed": state["pos_embed"][:, 1:]}
    vit = (VisionTransformerDistilled if family == "deit" else VisionTransformer)(**made).double().eval()
    vit.load_state_dict(state)
    return vit


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_same_tokens(name: str) -> None:
    model = pretrained(name).double()
    vit, images = _twin(model), pictures().double()
    for method in METHODS:
        if name.startswith("Siglip") and method in ("kmedoids", "topk", "evit"):
            continue  # these rank by the attention of a CLS token
        torch.manual_seed(0)
        mine = atc.wrap(vit, method, 0.5, blocks=(2, 3))
        torch.manual_seed(0)
        theirs = atc.wrap(model, method, 0.5, blocks=(2, 3))
        expected, found = mine.forward_features(images), theirs.forward_features(images)
        if name == "CLIPVisionModel":  # last_hidden_state is shown before the norm
            found = theirs.host.trunk.post_layernorm(found)
        assert all(torch.equal(a.source, b.source) for a, b in zip(mine.trace, theirs.trace, strict=True))
        assert torch.equal(found, expected), (method, (found - expected).abs().max())
