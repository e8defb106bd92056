"""Reduction in some steps of the sampler only, and decisions that hold for several."""

import pytest
import torch

import atc

diffusers = pytest.importorskip("diffusers")

from atc.diffusion import tiny  # noqa: E402


class Recorder:
    """How many tokens enter the keys of the first block, call by call, and how often it decides."""

    def __init__(self, network):
        self.tokens = []
        block = next(m for m in network.modules() if type(m).__name__ == "BasicTransformerBlock")
        block.attn1.to_k.register_forward_hook(lambda layer, args, output: self.tokens.append(output.shape[1]))


def call(network, timesteps, batch=2, size=8):
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(batch, 4, size, size, generator=generator)
    text = torch.randn(batch, 3, 32, generator=generator)
    with torch.no_grad():
        return [network(given * (1 + t / 1000), t, text).sample for t in timesteps]


@pytest.mark.parametrize("timesteps", [(901, 601, 601, 1), tuple(torch.tensor([901, 601, 601, 1]))])
def test_a_network_alone_counts_calls_until_the_timestep_rises(timesteps):
    network = tiny.stable_diffusion(16).unet
    seen = Recorder(network)
    with atc.diffusion.reduce(network, "tome_2d", 0.5, steps=(2, 3)) as handle:
        assert [one[2:] for one in handle.blocks] == [(64, 32)] * 3
        call(network, timesteps * 2)
        assert [one[2:] for one in handle.blocks] == [(64, 32)] * 3  # of the latest call that reduced
    assert seen.tokens == [64, 32, 32, 64] * 2


def test_steps_without_reduction_change_no_bit():
    network = tiny.stable_diffusion(16).unet
    plain = call(network, (901, 601, 1))
    with atc.diffusion.reduce(network, "atc_average", 0.5):
        always = call(network, (901, 601, 1))
    with atc.diffusion.reduce(network, "atc_average", 0.5, steps=(2, 2)):
        got = call(network, (901, 601, 1))
    assert torch.equal(got[0], plain[0])
    assert torch.equal(got[1], always[1])
    assert torch.equal(got[2], plain[2])


@pytest.mark.parametrize("many", [1, 2])
def test_a_pipeline_counts_from_one_for_each_image(many):
    pipeline = tiny.stable_diffusion(16)
    seen = Recorder(pipeline.unet)
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.75, steps=(2, 3)):
        for _ in range(2):
            pipeline(["a"] * many, num_inference_steps=3, output_type="latent")
        pipeline("a", num_inference_steps=1, output_type="latent")
        pipeline("a", num_inference_steps=1, output_type="latent")
    assert seen.tokens == [64, 48, 48, 64, 64, 48, 48, 64, 64, 64]  # PLMS calls the network once more than its steps


def test_a_sampler_that_goes_up_is_counted_too():
    pipeline = tiny.stable_diffusion(16)
    pipeline.scheduler = diffusers.DDIMInverseScheduler.from_config(pipeline.scheduler.config)
    seen = Recorder(pipeline.unet)
    with atc.diffusion.reduce(pipeline, "tome_2d", 0.5, steps=(2, 2)):
        for _ in range(2):
            pipeline("a", num_inference_steps=3, output_type="latent")
    assert seen.tokens == [64, 32, 64] * 2


def test_a_decision_holds_for_some_steps():
    network = tiny.stable_diffusion(16).unet

    def drawn(timesteps, **options):
        generator = torch.Generator().manual_seed(4)
        with atc.diffusion.reduce(network, "tome_2d", 0.5, generator=generator, **options):
            call(network, timesteps)
        twin = torch.Generator().manual_seed(4)
        for draws in range(40):
            if torch.equal(twin.get_state(), generator.get_state()):
                return draws / 3  # of three blocks
            torch.randint(4, (4, 4, 1), generator=twin)
        raise AssertionError("other numbers were drawn")

    assert drawn((9, 7, 5, 3, 1)) == 5
    assert drawn((9, 7, 5, 3, 1), every=2) == 3  # at steps 1, 3 and 5
    assert drawn((9, 7, 5, 9, 7, 5), every=4) == 2  # anew for each image
    assert drawn((9, 7, 5, 3, 1), every=2, steps=(2, 5)) == 2
    assert drawn((9, 7, 5, 3, 1), every=9, steps=(3, 3)) == 1


def test_a_decision_is_made_anew_for_another_batch_or_size():
    network = tiny.stable_diffusion(16).unet
    with atc.diffusion.reduce(network, "atc_average", 0.5, every=5) as handle:
        call(network, (9,))
        call(network, (7,), batch=1)
        call(network, (5,), size=6)
        assert {one[2:] for one in handle.blocks} == {(36, 18)}
        kept = call(network, (3,), size=6)
    with atc.diffusion.reduce(network, "atc_average", 0.5):
        assert not torch.equal(call(network, (3,), size=6)[0], kept[0])  # from the tokens of another step
        with torch.inference_mode():
            call(network, (3,))


def test_a_decision_of_inference_mode_is_not_used_for_gradients():
    network = tiny.stable_diffusion(16).unet
    given, text = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 32)
    with atc.diffusion.reduce(network, "atc_average", 0.5, every=5):
        with torch.inference_mode():
            network(given, 5, text)
        network(given, 4, text).sample.sum().backward()
    assert network.conv_in.weight.grad is not None
