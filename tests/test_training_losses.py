"""`atc.training_losses`: what is trained with, in the harness and in a loop of one's own."""

import pytest
import timm
import torch
from torch.nn import functional as F

import atc
from atc.core import Reducer, Select


class Weighted(Reducer):
    """Keeps the first tokens; has two losses, one of which counts three times, and one that says what it was given."""

    loss_weights = {"base": 0.5, "mine": 3.0}

    def forward(self, view, keep):
        return Select(torch.arange(keep).expand(len(view.x), -1), num_in=view.x.shape[1])

    def losses(self, plans, context):
        return {"mine": context.logits.sum() * 0 + 1, "plain": torch.tensor(float(context.multilabel))}


def model(reducer=Weighted):
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, num_classes=4)
    return atc.wrap(vit, reducer, 0.5, blocks=(2,)).train()


IMAGES = torch.rand(2, 3, 32, 32)


def test_weights_count_in_the_total_only():
    losses = atc.training_losses(model(), IMAGES, torch.tensor([1, 3]))
    assert set(losses) == {"base", "mine", "plain", "total"}
    assert losses["mine"].item() == 1
    assert losses["total"].item() == pytest.approx(0.5 * losses["base"].item() + 3)


@pytest.mark.parametrize(
    ("labels", "said", "multilabel"),
    [
        (torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1]]), None, True),
        (torch.tensor([[0.3, 0.7, 0, 0], [0, 0, 0, 1.0]]), None, False),
        (torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1.0]]), True, True),
    ],
)
def test_rows_of_labels(labels, said, multilabel):
    made = model()
    losses = atc.training_losses(made, IMAGES, labels, multilabel=said)
    loss = F.binary_cross_entropy_with_logits if multilabel else F.cross_entropy
    assert losses["base"].item() == pytest.approx(loss(made(IMAGES), labels.float()).item())
    assert losses["plain"].item() == float(multilabel)


def test_a_method_without_losses():
    losses = atc.training_losses(model("topk"), IMAGES, torch.tensor([1, 3]))
    assert set(losses) == {"base", "total"}
    assert losses["total"] is losses["base"]


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"training mode: call model.train\(\) first"):
        atc.training_losses(model().eval(), IMAGES, torch.tensor([1, 3]))
    with pytest.raises(ValueError, match=r"labels must be \[B\] or \[B, classes\] for 2 images, got"):
        atc.training_losses(model(), IMAGES, torch.tensor([1]))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            torch.tensor([0.0, 1.0]),
            r"labels \[B\] must be integers, the class of each image, got torch.float32 \[2\]; any",
        ),
        (torch.tensor([True, False]), r"labels \[B\] must be integers, .* got torch.bool \[2\]; any"),
        (torch.tensor([1, 4]), r"labels must lie in \[0, 4\), the classes of the model, got 4$"),
        (torch.tensor([-1, 2], dtype=torch.int32), r"labels must lie in \[0, 4\), the classes of the model, got -1$"),
        (torch.ones(2, 5), r"labels must be \[2, 4\], as the logits are, got torch.float32 \[2, 5\]"),
        ([1, 2], r"labels must be \[B\] or \[B, classes\] for 2 images, got \[1, 2\]"),
    ],
)
def test_labels_of_another_kind_are_refused(labels, said):
    with pytest.raises(ValueError, match=f"^{said}") as error:
        atc.training_losses(model("topk"), IMAGES, labels)
    assert "\n" not in str(error.value)


def test_an_ignored_image_counts_for_nothing():
    made = model("topk")
    alone = atc.training_losses(made, IMAGES, torch.tensor([1, -100]))["base"]
    assert alone.item() == pytest.approx(F.cross_entropy(made(IMAGES)[:1], torch.tensor([1])).item())


def test_a_class_is_no_model():
    with pytest.raises(ValueError, match=r"^training_losses needs a torch.nn.Module, got the class VisionTransformer$"):
        atc.training_losses(timm.models.VisionTransformer, IMAGES, torch.tensor([1, 3]))


def test_a_loss_that_is_a_number_becomes_a_tensor():
    class Returning(Weighted):
        def losses(self, plans):
            return {"mine": 0.5, "plain": 2}

    losses = atc.training_losses(model(Returning).bfloat16(), IMAGES.bfloat16(), torch.tensor([1, 3]))
    assert (losses["mine"].dtype, losses["mine"].shape, losses["mine"].item()) == (torch.bfloat16, (), 0.5)
    assert losses["plain"].item() == 2
    assert losses["total"].item() == pytest.approx(0.5 * losses["base"].item() + 3.5, rel=1e-2)


def vit(name="deit_tiny_patch16_224", **options):
    return timm.create_model(name, img_size=32, depth=3, **{"num_classes": 4, **options})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_masks_fit_models_of_every_precision(dtype):
    model, teacher = atc.wrap(vit().to(dtype), "dynamic_vit", 0.5, blocks=(2, 3)).train(), vit().to(dtype)
    losses = atc.training_losses(model, IMAGES.to(dtype), torch.tensor([1, 3]), teacher)
    losses["total"].backward()
    assert {"ratio", "kd_cls", "kd_token"} < set(losses)
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 7}, r"teacher's logits must be \[2, 4\], as the model's, got \[2, 7\]"),
        (
            {"name": "deit_small_patch16_224"},
            r"teacher's tokens must be \[2, 4, 192\], as the model's, got \[2, 4, 384\]",
        ),
    ],
)
def test_teachers_of_another_shape_are_refused(options, message):
    model = atc.wrap(vit(), "dynamic_vit", 0.5, blocks=(2, 3)).train()
    with pytest.raises(ValueError, match=message):
        atc.training_losses(model, IMAGES, torch.tensor([1, 3]), vit(**options))


@pytest.mark.parametrize("reducer", ["dynamic_vit", "ats", "radial_l2"])
def test_models_of_transformers(reducer):
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=3, intermediate_size=96, image_size=32, patch_size=8,
        num_labels=4, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    made, teacher = ViTForImageClassification(config), ViTForImageClassification(config)
    model = atc.wrap(made, reducer, 0.5, blocks=(2, 3)).train()
    losses = atc.training_losses(model, IMAGES, torch.tensor([1, 3]), teacher)
    losses["total"].backward()
    if reducer == "dynamic_vit":
        assert {"ratio", "kd_cls", "kd_token"} < set(losses)
    else:
        assert losses["base"].item() == pytest.approx(
            F.cross_entropy(model(IMAGES).logits, torch.tensor([1, 3])).item()
        )
