"""Noise predictions under the authors' patches, and what a user meets, on a small UNet."""

import pytest
import torch

import atc
from tests import golden

diffusers = pytest.importorskip("diffusers")
GOLDEN = golden.outputs("diffusion") | golden.outputs("diffusion_rates")
KEYS = [key for key in GOLDEN if key.startswith(("tome|", "atc_"))]
OF_SITES = {"attn": "attn1", "crossattn": "attn2", "mlp": "ff"}


def unet(dtype=torch.float64):
    made = diffusers.UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8,
    )  # fmt: skip
    made.load_state_dict({key[2:]: torch.from_numpy(GOLDEN[key]) for key in GOLDEN if key.startswith("w.")})
    return made.to(dtype).eval()


@torch.no_grad()
def predicted(network, **more):
    dtype = next(network.parameters()).dtype
    latent = torch.from_numpy(GOLDEN["latent"]).to(dtype).repeat(2, 1, 1, 1)
    text = torch.from_numpy(GOLDEN["text"]).to(dtype)
    return torch.stack([network(latent, int(t), text, **more).sample for t in GOLDEN["timesteps"]])


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("key", KEYS)
def test_as_the_authors_patch(key, dtype, most):
    method, *settings = key.split("|")
    given = dict(setting.split("=") for setting in settings)
    generator = torch.Generator().manual_seed(int(given["seed"])) if "seed" in given else None
    network = unet(dtype)
    with atc.diffusion.reduce(
        network,
        "tome_2d" if method == "tome" else method,
        float(given["keep"]),
        max_downsample=int(given.get("max_downsample", 1)),
        sites=[OF_SITES[site] for site in given.get("sites", "attn").split(",")],
        generator=generator,
    ):
        got = predicted(network)
    assert (got.double() - torch.from_numpy(GOLDEN[key])).abs().max() < most


def test_removed_to_the_bit_and_only_once():
    network = unet()
    before = predicted(network)
    handle = atc.diffusion.reduce(network, "atc_average", 0.5)
    with pytest.raises(ValueError, match="is reduced already"):
        atc.diffusion.reduce(network, "tome_2d", 0.5)
    assert not torch.equal(predicted(network), before)
    assert [(one.site, one.tokens_in, one.tokens_out) for one in handle.blocks] == [("attn1", 240, 120)] * 3
    handle.remove()
    assert torch.equal(predicted(network), before)
    with atc.diffusion.reduce(network, "random", 1.0) as handle:
        assert torch.equal(predicted(network), before)
        assert handle.blocks == []
    assert [(one.name.split(".")[0], *one[2:]) for one in atc.diffusion.reduce(network, "tome", 0.9).blocks] == [
        ("down_blocks", 256, 231), ("up_blocks", 256, 231), ("up_blocks", 256, 231),
    ]  # fmt: skip


def test_keys_and_values_alone():
    network = unet()
    widths = []
    network.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_k.register_forward_hook(
        lambda layer, args, output: widths.append(output.shape[1])
    )
    with atc.diffusion.reduce(network, "atc_single", [0.4, 0.9], sites=["kv", "ff"]) as handle:
        predicted(network)
    assert widths == [96] * 3
    assert not handle.blocks


@pytest.mark.parametrize(
    ("reducer", "options", "said"),
    [
        ("evit", {}, "EViT cannot merge"),
        ("dpc_knn", {}, "DPCKNN cannot merge"),
        ("tome_2d", {"keep_rate": 0.2}, r"keep_rate=0.2 is out of reach of ToMe2D, which leaves 0.25 of the tokens"),
        ("tome_2d", {"keep_rate": 0.1, "reducer_args": {"sx": 3, "sy": 3}}, "ToMe2D, which leaves 0.111111 of"),
        ("tome", {"keep_rate": 0.49}, "keep_rate=0.49 is out of reach of ToMe, which leaves 0.5 of the tokens"),
        ("tome_2d", {"generator": torch.Generator(), "reducer_args": {"generator": torch.Generator()}}, "given twice"),
        (
            "atc_average",
            {"keep_rate": {"attn1": 0.5, "ff": 0.5}},
            "keep_rate has attn1, ff, sites attn1: name the same",
        ),
        ("atc_average", {"keep_rate": {"attn1": 1.5}}, r"keep_rate\[attn1\]=1.5 must lie in"),
        ("atc_average", {"steps": (3, 2)}, r"steps=\[3, 2\] must be the first and the last step"),
        ("atc_average", {"steps": (0, 2)}, "steps=.* 0 must be 1 or more"),
        ("atc_average", {"steps": 5}, "steps=5 must be"),
        ("atc_average", {"every": 0}, "every=0 must be 1 or more"),
        ("atc_average", {"sites": []}, "must be one or more, each once"),
        ("atc_average", {"controlnet": True}, "UNet2DConditionModel has no ControlNet"),
        ("atc_average", {"generator": torch.Generator()}, "no argument 'generator'"),
        ("atc_average", {"sites": ["attn3"]}, "'attn3' is none of attn1, attn2, ff, kv"),
        ("atc_average", {"keep_rate": [0.5, 0.5]}, "one for each of the sites"),
    ],
)
def test_refused_in_one_line(reducer, options, said):
    network = unet()
    with pytest.raises(ValueError, match=said) as raised:
        atc.diffusion.reduce(network, reducer, **{"keep_rate": 0.5, **options})
    assert "\n" not in str(raised.value)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_masks_and_models_without_blocks_are_refused():
    network = unet()
    with atc.diffusion.reduce(network, "atc_average", 0.5), pytest.raises(ValueError, match="attention mask"):
        predicted(network, attention_mask=torch.ones(2, 240))
    with pytest.raises(ValueError, match="Linear has no BasicTransformerBlock"):
        atc.diffusion.reduce(torch.nn.Linear(2, 2), "atc_average", 0.5)


def test_the_image_stream_of_joint_blocks():
    torch.manual_seed(0)
    network = diffusers.SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=4,
        joint_attention_dim=8, caption_projection_dim=16, pooled_projection_dim=8, out_channels=4,
        pos_embed_max_size=16,
    ).eval()  # fmt: skip
    given = torch.randn(2, 4, 16, 12), torch.randn(2, 5, 8), torch.randn(2, 8), torch.tensor([500.0, 500.0])
    with torch.no_grad():
        before = network(*given).sample
        with atc.diffusion.reduce(network, "tome_2d", 0.5) as handle:
            assert not torch.equal(network(*given).sample, before)
            assert [one[2:] for one in handle.blocks] == [(48, 24)] * 2
        assert torch.equal(network(*given).sample, before)
    with pytest.raises(ValueError, match="'ff' is none of attn1"):
        atc.diffusion.reduce(network, "tome_2d", 0.5, sites=["ff"])


def test_where_no_block_merges_the_least_max_downsample_is_named():
    network = diffusers.UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8,
    ).double().eval()  # fmt: skip
    with pytest.raises(ValueError, match=r"merges something is 2$"):
        atc.diffusion.reduce(network, "atc_average", 0.5)
    with pytest.raises(ValueError, match=r"merges something is 2$"):
        atc.diffusion.reduce(network, "atc_average", 0.5, steps=(2, 3))
    assert not any(module._forward_pre_hooks for module in network.modules())
    with atc.diffusion.reduce(network, "atc_average", 0.5, max_downsample=2) as handle:
        assert {one[2:] for one in handle.blocks} == {(64, 32)}  # of the default size
        predicted(network)
        assert {one[2:] for one in handle.blocks} == {(60, 30)}


class Wrapped(torch.nn.Module):
    """A network whose configuration and stages are not known."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, sample, timestep, encoder_hidden_states):
        return self.inner(sample, timestep, encoder_hidden_states)


def test_the_first_call_says_what_the_configuration_does_not():
    network = Wrapped(unet())
    with atc.diffusion.reduce(network, "atc_average", 0.5) as handle:
        assert handle.blocks == []
        predicted(network)
        assert [one[2:] for one in handle.blocks] == [(240, 120)] * 3
    small = diffusers.UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8,
    ).double().eval()  # fmt: skip
    network = Wrapped(small)
    with (
        atc.diffusion.reduce(network, "atc_average", 0.5),
        pytest.raises(ValueError, match=r"Wrapped merges tokens with max_downsample=1: .* is 2$"),
    ):
        predicted(network)


def test_sites_of_different_rates_share_what_is_drawn():
    generator, twin = (torch.Generator().manual_seed(2) for _ in range(2))
    network = unet()
    with atc.diffusion.reduce(network, "tome_2d", [0.5, 0.8], sites=["attn1", "ff"], generator=generator):
        predicted(network)
    for _ in range(9):  # three blocks, three calls
        torch.randint(4, (6, 10, 1), generator=twin)
    assert torch.equal(generator.get_state(), twin.get_state())
