"""Padded tokens in the models of transformers: what pads changes nothing."""

import pytest
import torch

import atc
from tests.reducers.kinds import Learned
from tests.vit.pretrained import CLASSIFIERS, MODELS, pictures, pretrained
from tests.vit.test_valid import Wrong


@pytest.mark.parametrize("name", [name for name in MODELS if name != "ViTMAEModel"])  # which pools nothing
@torch.no_grad()
def test_padding_changes_nothing(name, monkeypatch):
    images = pictures(3).double() * torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1, 1)
    model = atc.wrap(pretrained(name).double().eval(), Wrong, 0.5, blocks=(2, 3))

    def outcome(images):
        found = model(pixel_values=images)
        return [found[key] for key in ("logits", "pooler_output", "image_embeds") if found.get(key) is not None]

    whole = outcome(images)
    assert whole
    monkeypatch.setattr(Wrong, "content", -50.0)
    for one, other in zip(outcome(images), whole, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(outcome(images[:1]), whole, strict=True):
        torch.testing.assert_close(one[0], other[0], rtol=0, atol=1e-10)


def test_losses_see_the_outcome():
    model = atc.wrap(pretrained(CLASSIFIERS[0]), Learned, 0.5, blocks=(2, 3)).train()
    model(pixel_values=pictures(2))
    assert model.losses()["score"] > 0
