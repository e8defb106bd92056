"""Whole pipelines of diffusers, with what users do to them, while they are reduced."""

import copy
import pickle

import pytest
import torch
from PIL import Image

import atc

diffusers = pytest.importorskip("diffusers")

from atc.diffusion import tiny  # noqa: E402

PICTURE = Image.new("RGB", (16, 16), (200, 30, 60))
MASK = Image.new("L", (16, 16))
MASK.paste(255, (0, 0, 8, 16))
GIVEN = {
    "inpainting": {"image": PICTURE, "mask_image": MASK},
    "control_net": {"image": PICTURE},
    "img2img": {"image": PICTURE, "strength": 0.99},
}


def latents(pipeline, kind="", **more):
    """Of one image in two steps."""
    given = {"num_inference_steps": 2, "output_type": "latent", "generator": torch.Generator().manual_seed(0)}
    if kind not in ("img2img", "inpainting"):
        given |= {"height": 16, "width": 16}
    return pipeline("a magpie", **(given | GIVEN.get(kind, {}) | more)).images


def made(kind):
    if kind == "img2img":
        return diffusers.StableDiffusionImg2ImgPipeline.from_pipe(tiny.stable_diffusion(16))
    return tiny.KINDS[kind](16)


@pytest.mark.parametrize(
    ("kind", "max_downsample", "counts"),
    [
        ("stable_diffusion", 1, [(64, 32)] * 3),
        ("img2img", 1, [(64, 32)] * 3),
        ("inpainting", 1, [(64, 32)] * 3),
        ("stable_diffusion_xl", 2, [(16, 8)] * 8),
        ("stable_diffusion_3", 1, [(16, 8)] * 2),
        ("control_net", 1, [(64, 32)] * 3),
    ],
)
def test_every_kind_is_reduced_and_restored_to_the_bit(kind, max_downsample, counts):
    whole = made(kind)
    before = latents(whole, kind)
    with atc.diffusion.reduce(whole, "atc_average", 0.5, max_downsample=max_downsample) as handle:
        assert [one[2:] for one in handle.blocks] == counts  # already known
        assert not torch.equal(latents(whole, kind), before)
        assert [one[2:] for one in handle.blocks] == counts
    assert torch.equal(latents(whole, kind), before)
    with atc.diffusion.reduce(whole, "tome_2d", 1.0, max_downsample=max_downsample):
        assert torch.equal(latents(whole, kind), before)
    assert not any(part._forward_hooks for part in whole.components.values() if isinstance(part, torch.nn.Module))


def test_second_self_attention_of_stable_diffusion_3_5_stays_whole():
    network = tiny.stable_diffusion_3(16, dual_attention=True).transformer
    seen = {}
    for name in ("attn", "attn2"):
        layer = getattr(network.transformer_blocks[0], name)
        layer.to_k.register_forward_hook(lambda _, args, output, name=name: seen.update({name: output.shape[1]}))
    with atc.diffusion.reduce(network, "tome_2d", 0.5), torch.no_grad():
        network(torch.randn(1, 4, 8, 8), torch.randn(1, 5, 64), torch.randn(1, 64), torch.tensor([5.0]))
    assert seen == {"attn": 8, "attn2": 16}


def test_control_net_only_when_asked_for():
    whole = tiny.control_net(16)
    with atc.diffusion.reduce(whole, "tome_2d", 0.5) as handle:
        unet_alone = latents(whole, "control_net")
        assert not any(one.name.startswith("controlnet") for one in handle.blocks)
    with atc.diffusion.reduce(whole, "tome_2d", 0.5, controlnet=True) as handle:
        assert not torch.equal(latents(whole, "control_net"), unet_alone)
        assert [one.name.split(".")[0] for one in handle.blocks] == [
            "down_blocks",
            "up_blocks",
            "up_blocks",
            "controlnet",
        ]
    several = diffusers.StableDiffusionControlNetPipeline(
        **(whole.components | {"controlnet": [whole.controlnet, tiny.control_net(16, 1).controlnet]})
    )
    with atc.diffusion.reduce(several, "tome_2d", 0.5, controlnet=True) as handle:
        latents(several, image=[PICTURE, PICTURE])
        names = [one.name for one in handle.blocks if one.name.startswith("controlnet")]
    assert [name.split(".down")[0] for name in names] == ["controlnet.nets.0", "controlnet.nets.1"]


def test_batches_of_guidance_and_without(pipeline):
    with atc.diffusion.reduce(pipeline, "atc_complete", 0.5):
        alone = latents(pipeline, guidance_scale=1.0)
        generators = [torch.Generator().manual_seed(seed) for seed in (0, 1, 2)]
        three = latents(pipeline, guidance_scale=1.0, num_images_per_prompt=3, generator=generators)
    torch.testing.assert_close(three[:1], alone, rtol=0, atol=1e-5)


def test_one_draw_for_an_odd_batch(pipeline):
    generator, twin = (torch.Generator().manual_seed(3) for _ in range(2))
    state = torch.random.get_rng_state()
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5, generator=generator):
        latents(pipeline, guidance_scale=1.0)
    for _ in range(9):  # three blocks, three calls
        torch.randint(4, (4, 4, 1), generator=twin)
    assert torch.equal(generator.get_state(), twin.get_state())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_inference_mode(pipeline):
    with atc.diffusion.reduce(pipeline, "atc_single", 0.4):
        expected = latents(pipeline)
        with torch.inference_mode():
            assert torch.equal(latents(pipeline), expected)


def test_is_saved_without_the_reduction_and_not_copied(pipeline, tmp_path):
    plain = latents(pipeline)
    with atc.diffusion.reduce(pipeline, "atc_average", 0.5, sites=["attn1", "ff"]):
        pipeline.save_pretrained(tmp_path)
        for attempt in (copy.deepcopy, pickle.dumps):
            for given in (pipeline.unet, pipeline):
                with pytest.raises(ValueError, match="is reduced and cannot be copied or pickled") as raised:
                    attempt(given)
                assert "\n" not in str(raised.value)
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path)
    assert torch.equal(latents(loaded), plain)
    assert torch.equal(latents(copy.deepcopy(pipeline)), plain)


def test_shared_networks_are_reduced_once(pipeline):
    other = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(pipeline)
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5):
        with pytest.raises(ValueError, match="this UNet2DConditionModel is reduced already"):
            atc.diffusion.reduce(other, "tome_2d", 0.5)
        latents(other, "img2img")
    with atc.diffusion.reduce(other, "tome_2d", 0.5):
        latents(other, "img2img")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("flux", "FluxTransformer2DModel has no BasicTransformerBlock .* rotate positions .* Flux"),
        ("pipeline", "DDIMPipeline has|UNet2DModel has no BasicTransformerBlock"),
        ("text", "str has no unet and no transformer"),
    ],
)
def test_models_without_such_blocks(given, said):
    models = {
        "text": lambda: "stable-diffusion",
        "flux": lambda: diffusers.FluxTransformer2DModel(
            in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=8, pooled_projection_dim=8, axes_dims_rope=(2, 2, 4),
        ),
        "pipeline": lambda: diffusers.DDIMPipeline(
            unet=diffusers.UNet2DModel(
                sample_size=8, block_out_channels=(8,), down_block_types=("DownBlock2D",),
                up_block_types=("UpBlock2D",), norm_num_groups=4,
            ),
            scheduler=diffusers.DDIMScheduler(),
        ),
    }  # fmt: skip
    with pytest.raises(ValueError, match=said) as raised:
        atc.diffusion.reduce(models[given](), "tome_2d", 0.5)
    assert "\n" not in str(raised.value)


def test_training_with_gradient_checkpointing():
    def gradient(checkpointing, **options):
        network = tiny.stable_diffusion(16).unet.train()
        if checkpointing:
            network.enable_gradient_checkpointing()
        torch.manual_seed(0)
        given = torch.randn(1, 4, 8, 8), 5, torch.randn(1, 3, 32)
        with atc.diffusion.reduce(network, "tome_2d", 0.5, **options):
            network(*given).sample.square().sum().backward()
        return network.conv_in.weight.grad

    torch.testing.assert_close(gradient(True), gradient(False))
    with pytest.raises(ValueError, match="turn gradient checkpointing off"):
        gradient(True, generator=torch.Generator())
