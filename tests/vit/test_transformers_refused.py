"""What a wrapped model of transformers cannot honour is refused in one line, with the way out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import atc
from tests.vit.pretrained import config, pictures, pretrained, transformers


def wrap(model: nn.Module) -> atc.ReducedViT:
    return atc.wrap(model, "tome", 0.5, blocks=(2, 3))


def refused(match: str, model: nn.Module) -> None:
    with pytest.raises(ValueError, match=f"cannot wrap this backbone: .*{match}") as error:
        wrap(model)
    assert "\n" not in str(error.value)


def test_models_of_other_kinds() -> None:
    refused(r"masks 75% of the patches .*model\.config\.mask_ratio = 0", pretrained("ViTMAEModel", mask_ratio=0.75))
    tower = config("CLIPVisionModel")
    text = transformers.CLIPTextConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    whole = transformers.CLIPModel(transformers.CLIPConfig(vision_config=tower.to_dict(), text_config=text.to_dict()))
    refused(r"model\.vision_model = atc\.wrap\(model\.vision_model\)", whole)
    masked = transformers.ViTForMaskedImageModeling(config("ViTModel", encoder_stride=16))
    refused(r"more than a vision model; wrap the one in it: model\.vit", masked)
    beit = transformers.BeitModel(
        transformers.BeitConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                                image_size=64, use_relative_position_bias=True))  # fmt: skip
    refused("relative-position biases between fixed places", beit)
    bert = transformers.BertModel(
        transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    )
    refused("BertModel is not among the models of transformers that can be wrapped: ViTModel, ", bert)


def test_a_tower_in_its_model() -> None:
    tower = config("CLIPVisionModel")
    text = transformers.CLIPTextConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    whole = transformers.CLIPModel(
        transformers.CLIPConfig(vision_config=tower.to_dict(), text_config=text.to_dict(), attn_implementation="sdpa")
    ).eval()
    words = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        expected = whole(input_ids=words, pixel_values=pictures()).logits_per_image
        whole.vision_model = atc.wrap(whole.vision_model, "none")
        assert torch.equal(whole(input_ids=words, pixel_values=pictures()).logits_per_image, expected)
        whole.vision_model = wrap(atc.unwrap(whole.vision_model))
        assert not torch.equal(whole(input_ids=words, pixel_values=pictures()).logits_per_image, expected)
        assert whole.vision_model.trace.tokens() == [8, 4]


def test_subclasses_and_patches() -> None:
    class Own(transformers.ViTForImageClassification):
        def forward(self, pixel_values: Tensor) -> Tensor:  # type: ignore[override]
            return pixel_values

    class Plain(transformers.ViTForImageClassification):
        pass

    settings = config("ViTForImageClassification")
    refused("Own has a forward of its own", Own(settings))
    assert wrap(Plain(settings).eval())(pictures()).logits.shape == (2, 5)
    model = pretrained("ViTForImageClassification")
    handle = model.vit.register_forward_hook(print)
    refused(r"the trunk \(ViTModel\) has the hook print", model)
    handle.remove()
    wrapped = wrap(model)
    block = wrapped.host.blocks[1]
    for module in {*block.skipped(), *block.attn.skipped()}:
        handle = module.register_forward_hook(print)
        with pytest.raises(ValueError, match=r"block 2 \(\w+\) has the hook print, which would not run"):
            wrapped(pictures())
        handle.remove()
    block.attn.module.forward = print
    refused("the forward of the attention of block 2", model)


def test_attention_implementations() -> None:
    model = pretrained("ViTModel")
    wrapped = wrap(model)
    with pytest.raises(ValueError, match=r"output_attentions=True needs .*not sdpa; .*\"eager\""):
        wrapped(pictures(), output_attentions=True)
    wrapped.set_attn_implementation("eager")
    shapes = [tuple(weights.shape) for weights in wrapped(pictures(), output_attentions=True).attentions]
    assert shapes == [(2, 2, 17, 17), (2, 2, 17, 17), (2, 2, 9, 9), (2, 2, 5, 5)]
    model.set_attn_implementation("flex_attention")
    with pytest.raises(ValueError, match=r"attn_implementation=flex_attention takes no weights per token"):
        wrapped(pictures())
    refused("attn_implementation=flex_attention", model)


@pytest.mark.parametrize(
    ("name", "options", "error", "match"),
    [
        ("ViTModel", {"labels": torch.tensor([1, 2])}, TypeError, "ViTModel takes no argument labels; it takes pixel"),
        ("ViTForImageClassification", {"colour": 1}, TypeError, "takes no argument colour"),
        ("Dinov2Model", {"interpolate_pos_encoding": True}, TypeError, "no argument interpolate_pos_encoding"),
        ("ViTModel", {"attention_mask": torch.ones(2, 17)}, ValueError, "attention_mask= hides places"),
        ("ViTMAEModel", {"noise": torch.rand(2, 16)}, ValueError, "noise= would shuffle"),
        ("ViTModel", {"output_hidden_states": 3}, ValueError, "output_hidden_states=3 must be true or false"),
        ("ViTModel", {"pixel_values": None}, ValueError, "pixel_values= is missing"),
    ],
)
def test_arguments(name: str, options: dict[str, Any], error: type[Exception], match: str) -> None:
    wrapped = wrap(pretrained(name))
    with pytest.raises(error, match=match) as found:
        wrapped(**{"pixel_values": pictures(), **options})
    assert "\n" not in str(found.value)
