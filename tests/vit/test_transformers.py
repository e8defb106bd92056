"""Models of Hugging Face transformers: dense to the bit, reduced, and called as the library calls them."""

from typing import Any

import pytest
import torch

import atc
from tests.vit.pretrained import CLASSIFIERS, MODELS, dense, pictures, pretrained, transformers


def same(found: Any, expected: Any) -> None:
    """The same output class, with the same tensors in it to the bit."""
    assert type(found) is type(expected)
    assert list(found.keys()) == list(expected.keys())
    for key, value in expected.items():
        many = value if isinstance(value, tuple) else (value,)
        ours = found[key] if isinstance(value, tuple) else (found[key],)
        assert len(many) == len(ours), key
        for mine, theirs in zip(ours, many, strict=True):
            assert torch.equal(mine, theirs), key


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", MODELS)
def test_dense_is_the_original_to_the_bit(name: str, attention: str) -> None:
    model = pretrained(name)
    model.set_attn_implementation(attention)
    expected = dense(model, pictures(), output_hidden_states=True, output_attentions=attention == "eager")
    wrapped = atc.wrap(model, "none")
    found = wrapped(pixel_values=pictures(), output_hidden_states=True, output_attentions=attention == "eager")
    same(found, expected)
    same(wrapped(pictures()), dense(model, pictures()))
    for mine, theirs in zip(
        wrapped(pictures(), return_dict=False), dense(model, pictures(), return_dict=False), strict=True
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", MODELS)
def test_reduced_and_trained(name: str) -> None:
    model = pretrained(name)
    wrapped = atc.wrap(model, "atc_average", 0.5, blocks=(2, 3)).train()
    found = wrapped(pictures(), output_hidden_states=True)
    prefix = wrapped.prefix
    assert [s.shape[1] - prefix for s in found.hidden_states] == [16, 16, 8, 4, 4]
    if "last_hidden_state" in found:
        assert found.last_hidden_state.shape == (2, prefix + 4, 32)
    assert wrapped.trace.tokens() == [8, 4]
    found[0].square().mean().backward()
    patches = next(p for key, p in model.named_parameters() if "patch_embedding" in key)
    assert patches.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [n for n in MODELS if n != "ViTMAEModel"])
def test_dropout_and_recomputation_in_training(name: str) -> None:
    rates = {"attention_dropout": 0.2} if name[:4] in ("CLIP", "Sigl", "DINO") else {
        "attention_probs_dropout_prob": 0.2, "hidden_dropout_prob": 0.3}  # fmt: skip
    if name[:4] in ("Dino", "DINO"):
        rates["drop_path_rate"] = 0.3
    model = pretrained(name, **rates).train()
    wrapped = atc.wrap(model, "none")
    torch.manual_seed(3)
    expected = model(pictures(4))
    torch.manual_seed(3)
    same(wrapped(pictures(4)), expected)
    torch.manual_seed(3)
    expected[0].sum().backward()
    grads = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    assert wrapped.host.recomputes()
    wrapped.zero_grad()
    torch.manual_seed(3)
    wrapped(pictures(4))[0].sum().backward()
    for key, parameter in model.named_parameters():
        if key in grads:
            torch.testing.assert_close(parameter.grad, grads[key], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_loss(name: str) -> None:
    model, labels = pretrained(name), torch.tensor([1, 4])
    expected, found = model(pictures(), labels=labels), atc.wrap(model, "none")(pictures(), labels)
    same(found, expected)
    reduced = atc.wrap(model, "tome", 0.5, blocks=(2, 3))(pixel_values=pictures(), labels=labels)
    assert torch.isfinite(reduced.loss)
    assert not torch.equal(reduced.loss, expected.loss)


@torch.no_grad()
@pytest.mark.parametrize("name", ["SiglipVisionModel", "SiglipForImageClassification", "Dinov2ForImageClassification"])
def test_pooling_counts_a_merged_token_as_its_patches(name: str) -> None:
    """Merging equal tokens changes nothing: log(size) in the attention and weighted pooling see to it."""
    model = pretrained(name).double()
    embeddings = atc.wrap(model, "none").host.trunk.embeddings
    if name.startswith("Siglip"):
        embeddings.position_embedding.weight.zero_()
    else:
        embeddings.position_embeddings[:, 1:] = 0
    one, other = torch.randn(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double()
    row = torch.cat([one, one, other, one], dim=3)
    images = torch.cat([row] * 4, dim=2)  # 16 patches of two kinds
    expected = model(images)
    wrapped = atc.wrap(model, "atc_average", schedule=atc.core.Stages(keep=[2], blocks=[1]))
    key = "logits" if "logits" in expected else "pooler_output"
    torch.testing.assert_close(wrapped(images)[key], expected[key])
    assert sorted(wrapped.trace[0].size[0].tolist()) == [4.0, 12.0]


@torch.no_grad()
@pytest.mark.parametrize("name", ["ViTModel", "DeiTModel", "CLIPVisionModel", "SiglipVisionModel", "ViTMAEModel"])
def test_interpolated_positions(name: str) -> None:
    model, images = pretrained(name), pictures(2, 96)
    expected = dense(model, images, interpolate_pos_encoding=True)
    same(atc.wrap(model, "none")(images, interpolate_pos_encoding=True), expected)
    wrapped = atc.wrap(model, "tome", 0.5, blocks=(2, 3))
    wrapped(images, interpolate_pos_encoding=True)
    assert (wrapped.trace[0].tokens_in, wrapped.trace.tokens()) == (36, [18, 9])
    with pytest.raises((ValueError, RuntimeError)):
        wrapped(images)


@torch.no_grad()
def test_masked_patches() -> None:
    mask = torch.arange(16).expand(2, -1) % 3 == 0
    for name in ("ViTModel", "Dinov2Model", "DINOv3ViTModel"):
        model = pretrained(name)
        if name == "ViTModel":
            with pytest.raises(ValueError, match=r"bool_masked_pos= needs a mask token"):
                atc.wrap(model, "tome", 0.5, blocks=(2,))(pictures(), bool_masked_pos=mask)
            torch.manual_seed(0)
            model = transformers.ViTModel(model.config, use_mask_token=True).eval()
            torch.nn.init.normal_(model.embeddings.mask_token)
        expected = model(pictures(), bool_masked_pos=mask)
        same(atc.wrap(model, "none")(pictures(), bool_masked_pos=mask), expected)
        assert not torch.equal(expected.last_hidden_state, model(pictures()).last_hidden_state)


@torch.no_grad()
def test_features_and_maps() -> None:
    wrapped = atc.wrap(pretrained("Dinov2WithRegistersModel"), "atc_average", 0.5, blocks=(2, 3))
    assert torch.equal(wrapped.forward_features(pictures()), wrapped(pictures()).last_hidden_state)
    (feature,) = wrapped.forward_intermediates(pictures(), indices=1, norm=True, intermediates_only=True)
    left = wrapped(pictures()).last_hidden_state[:, wrapped.prefix :]
    spread = left.gather(1, wrapped.trace[-1].source[..., None].expand(-1, -1, 32))
    torch.testing.assert_close(feature, spread.mT.unflatten(2, (4, 4)))
