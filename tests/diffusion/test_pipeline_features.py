"""What users do to a pipeline of diffusers while it is reduced: LoRA, slicing, offloading, IP-Adapter, chunks."""

import pytest
import torch

import atc

diffusers = pytest.importorskip("diffusers")

from atc.diffusion import tiny  # noqa: E402
from tests.diffusion.test_pipelines import latents  # noqa: E402


def test_lora_loaded_afterwards(pipeline, tmp_path):
    peft = pytest.importorskip("peft")
    other = tiny.stable_diffusion(16)
    other.unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    weights = peft.get_peft_model_state_dict(other.unet)
    diffusers.StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=weights)
    with atc.diffusion.reduce(pipeline, "atc_average", 0.5):
        plain = latents(pipeline)
        pipeline.load_lora_weights(tmp_path)
        adapted = latents(pipeline)
        pipeline.unload_lora_weights()
        assert torch.equal(latents(pipeline), plain)
    pipeline.load_lora_weights(tmp_path)
    with atc.diffusion.reduce(pipeline, "atc_average", 0.5):
        assert torch.equal(latents(pipeline), adapted)
    assert not torch.equal(adapted, plain)


@pytest.mark.parametrize("first", ["reduced", "sliced"])
def test_attention_slicing(pipeline, first):
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        expected = latents(pipeline)
    if first == "sliced":
        pipeline.enable_attention_slicing(1)
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        pipeline.enable_attention_slicing(1)
        torch.testing.assert_close(latents(pipeline), expected, rtol=0, atol=1e-5)


def test_fused_projections(pipeline):
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        expected = latents(pipeline)
        pipeline.unet.fuse_qkv_projections()
        torch.testing.assert_close(latents(pipeline), expected, rtol=0, atol=1e-5)
    with (
        atc.diffusion.reduce(pipeline, "tome_2d", 0.5, sites=["kv"]),
        pytest.raises(ValueError, match="attn1 has fused projections"),
    ):
        latents(pipeline)


def test_offloading(pipeline):
    accelerate = pytest.importorskip("accelerate")
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        expected = latents(pipeline)
        accelerate.cpu_offload(pipeline.unet, execution_device=torch.device("cpu"))
        assert torch.equal(latents(pipeline), expected)
        accelerate.hooks.remove_hook_from_module(pipeline.unet, recurse=True)
        assert torch.equal(latents(pipeline), expected)
        pipeline.unet.enable_group_offload(
            onload_device=torch.device("cpu"), offload_device=torch.device("cpu"), offload_type="leaf_level"
        )
        assert torch.equal(latents(pipeline), expected)


def adapter(unet):
    """The weights of an IP-Adapter for a UNet, random ones; images come as 8 numbers."""
    shapes = {"proj.weight": (4 * 32, 8), "proj.bias": (4 * 32,), "norm.weight": (32,), "norm.bias": (32,)}
    layers = [layer for name, layer in unet.named_modules() if name.endswith("attn2")]
    return {
        "image_proj": {name: torch.randn(shape) for name, shape in shapes.items()},
        "ip_adapter": {
            f"{2 * number + 1}.to_{which}_ip.weight": torch.randn(layer.inner_dim, 32)
            for number, layer in enumerate(layers)
            for which in "kv"
        },
    }


def test_ip_adapter_loaded_afterwards(pipeline):
    torch.manual_seed(0)
    weights = adapter(pipeline.unet)
    seen = {"ip_adapter_image_embeds": [torch.randn(2, 1, 8)]}
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        without = latents(pipeline)
        pipeline.load_ip_adapter(weights, subfolder=None, weight_name=None, image_encoder_folder=None)
        adapted = latents(pipeline, **seen)
    assert not torch.equal(adapted, without)
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        assert torch.equal(latents(pipeline, **seen), adapted)
        masked = seen | {"cross_attention_kwargs": {"ip_adapter_masks": [torch.ones(1, 1, 16, 16)]}}
        assert torch.isfinite(latents(pipeline, **masked)).all()
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5, sites=["attn1", "attn2"]):
        assert not torch.equal(latents(pipeline, **seen), adapted)
        with pytest.raises(ValueError, match="attn2 gets ip_adapter_masks") as raised:
            latents(pipeline, **masked)
        assert "\n" not in str(raised.value)


def test_feed_forward_in_chunks(pipeline):
    def chunks(size, dim):
        for one in pipeline.unet.modules():
            if hasattr(one, "set_chunk_feed_forward"):
                one.set_chunk_feed_forward(size, dim)

    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        expected = latents(pipeline)
        chunks(16, 1)
        torch.testing.assert_close(latents(pipeline), expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="in chunks does not go with site ff"):
        atc.diffusion.reduce(pipeline, "tome_2d", 0.5, sites=["ff"])
    chunks(None, 0)
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5, sites=["ff"]):
        latents(pipeline)
        chunks(1, 0)
        with pytest.raises(ValueError, match="in chunks does not go with site ff"):
            latents(pipeline)
