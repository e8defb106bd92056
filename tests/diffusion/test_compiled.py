"""torch.compile of diffusion models that are reduced."""

import pytest
import torch

import atc

pytest.importorskip("diffusers")

from atc.diffusion import tiny


@pytest.mark.slow
@pytest.mark.parametrize("method", ["atc_average", "tome_2d"])
def test_compiled_afterwards_in_one_graph_and_restored(method):
    network, dense = tiny.stable_diffusion(16).unet, tiny.stable_diffusion(16).unet
    given = torch.randn(2, 4, 8, 8), torch.tensor(5), torch.randn(2, 3, 32)
    compiled_dense = torch.compile(dense, backend="eager", fullgraph=True)
    with torch.no_grad():
        plain = network(*given).sample
        assert torch.equal(compiled_dense(*given).sample, plain)
        with atc.diffusion.reduce(network, method, 0.5):
            reduced = network(*given).sample
            compiled = torch.compile(network, backend="eager", fullgraph=True)
            for _ in range(2):  # code without hooks, of a network of the same class, is not taken
                assert torch.equal(compiled(*given).sample, reduced)
                assert torch.equal(compiled_dense(*given).sample, plain)
        assert torch.equal(compiled(*given).sample, plain)


@pytest.mark.slow
def test_compiled_with_a_generator_and_steps():
    network = tiny.stable_diffusion(16).unet
    given = torch.randn(2, 4, 8, 8), torch.tensor(5), torch.randn(2, 3, 32)

    def drawn(run):
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad(), atc.diffusion.reduce(network, "tome_2d", 0.5, generator=generator, steps=(2, 3)):
            return [run(*given).sample for _ in range(4)]

    expected = drawn(network)
    for got, wanted in zip(drawn(torch.compile(network, backend="eager")), expected, strict=True):
        assert torch.equal(got, wanted)


def test_not_compiled_where_compiled_code_does_not_see_hooks(monkeypatch):
    network = tiny.stable_diffusion(16).unet
    monkeypatch.setattr("atc.diffusion.reducing.guard_hooks", lambda: False)
    with atc.diffusion.reduce(network, "tome_2d", 0.5), torch.no_grad():
        given = torch.randn(1, 4, 8, 8), torch.tensor(5), torch.randn(1, 3, 32)
        network(*given)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        with pytest.raises(ValueError, match="cannot compile a model that is reduced"):
            network(*given)


def test_compiled_before_is_refused(pipeline):
    for compiled in (torch.compile(pipeline.unet, backend="eager"), pipeline.unet):
        if compiled is pipeline.unet:
            pipeline.unet.down_blocks[0].compile(backend="eager")
        with pytest.raises(ValueError, match="is compiled, and would not see what is hooked in: reduce it first"):
            atc.diffusion.reduce(compiled, "tome_2d", 0.5)
    other = tiny.stable_diffusion(16).unet
    other.forward = torch.compile(other.forward, backend="eager")
    with pytest.raises(ValueError, match="is compiled"):
        atc.diffusion.reduce(other, "tome_2d", 0.5)
