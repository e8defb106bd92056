"""Keys of trained networks: the digits model, and the golden one on photographs."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from atc.ops.linkage import METHODS, cosine_distance, cpu, labels, labels_from_features
from atc.vit import backbones
from tests import golden

BLOCKS = (4, 7, 10)


def keys_of(model: torch.nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """The head-mean keys [B, N, D] of the patches at three blocks of a stock timm ViT."""
    found = []

    def keep(module, inputs, output):
        keys = output.unflatten(-1, (3, heads, -1))[:, 1:, 1]
        found.append(keys.mean(2))

    heads = model.blocks[0].attn.num_heads
    hooks = [model.blocks[block - 1].attn.qkv.register_forward_hook(keep) for block in BLOCKS]
    with torch.inference_mode():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return [keys.clone() for keys in found]


@pytest.fixture(scope="module")
def photographs():
    return keys_of(golden.vit(dtype=torch.float32), golden.images(torch.float32))


@pytest.fixture(scope="module")
def digits():
    pixels = torch.from_numpy(load_digits().images[:8]).float()[:, None] / 16
    images = torch.nn.functional.interpolate(pixels, size=28, mode="bilinear").expand(-1, 3, -1, -1)
    return keys_of(backbones.digits(pretrained=True), images)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", ["photographs", "digits"])
def test_all_backends_agree_on_real_keys(kernel, request, network, method):
    for keys in request.getfixturevalue(network):
        distance = cosine_distance(keys)
        for rate in (0.25, 0.5, 0.9):
            keep = int(rate * keys.shape[1])
            oracle = labels(distance, keep, method, backend="reference")
            for avx2 in (True, False):
                assert torch.equal(cpu.cluster(distance, keep, method, avx2=avx2).labels, oracle)
            assert torch.equal(labels(distance[:2], keep, method, backend="torch"), oracle[:2])
            assert torch.equal(labels_from_features(keys, keep, method), oracle)
