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
