"""DynamicViT against its definition in loops, and what keeps its training finite."""

import pytest
import torch
from torch.nn import functional as F

import atc
from atc.core import LossContext, Select, Stage
from reducers.dynamic_vit import DynamicViT
from tests.reducers.views import random_view


def reducer(keep=9, dim=8, rate=0.4, **arguments):
    torch.manual_seed(3)
    made = DynamicViT(Stage(4, dim, keep, rate=rate), **arguments).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return made


def log_probabilities(made, tokens, kept):
    """[N, C] and [N] of one image -> [N, 2], a token at a time."""
    channels = tokens.shape[1]
    embedded = [F.gelu(made.embed[1](F.layer_norm(x, (channels,), made.embed[0].weight, made.embed[0].bias)))
                for x in tokens]  # fmt: skip
    mean = sum(k * e[channels // 2 :] for k, e in zip(kept, embedded, strict=True)) / max(float(sum(kept)), 1) + 1e-6
    return torch.stack([made.score(torch.cat([e[: channels // 2], mean])).log_softmax(0) for e in embedded])


def test_evaluation_keeps_the_most_probable():
    view, made = random_view(n=23), reducer().eval()
    plan = made(view, 9)
    for image in range(2):
        keep = log_probabilities(made, view.x[image], torch.ones(23))[:, 0].tolist()
        assert plan.indices[image].tolist() == sorted(range(23), key=lambda token: -keep[token])[:9]


def test_training_masks_by_gumbel_noise():
    before = (torch.arange(46).reshape(2, 23) % 3 > 0).double()
    view, made = random_view(n=23)._replace(valid=before), reducer().train()
    made.noise = torch.rand(2, 23, 2).double() + 0.01
    plan = made(view, 9)
    assert plan.num_out == 23
    for image in range(2):
        log = log_probabilities(made, view.x[image], before[image])
        for token in range(23):
            keep, drop = log[token] - made.noise[image, token].log()
            expected = float(keep >= drop) * before[image, token]
            assert plan.valid[image, token].item() == pytest.approx(expected.item(), abs=1e-12)


def test_gradients_pass_straight_through_the_choice():
    view, made = random_view(n=11), reducer().train()
    made.noise = torch.ones(2, 11, 2).double()
    made(view, 5).valid.sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
    assert made.score[0].weight.grad.abs().max() > 0


def context(blocks=(4,), labels=None, multilabel=False, teacher=True, valid=None):
    torch.manual_seed(5)
    logits, theirs = torch.randn(2, 5).double(), torch.randn(2, 5).double()
    features, wanted = torch.randn(2, 7, 8).double(), torch.randn(2, 7, 8).double()
    known = (theirs, wanted) if teacher else (None, None)
    return LossContext(logits, features, valid, labels, *known, blocks=blocks, multilabel=multilabel)


def plan_of(valid):
    every = torch.arange(valid.shape[1]).expand_as(valid)
    return Select(every, num_in=valid.shape[1], valid=valid)


def test_losses_by_loops():
    valid = torch.tensor([[1.0, 0, 1, 1, 0, 0, 1], [0, 0, 1, 0, 0, 1, 0]]).double()
    given = context(blocks=(1, 4), valid=valid)
    found = reducer(rate=0.3).losses([plan_of(valid)], given)
    ratio = sum((float(sum(row)) / 7 - 0.3) ** 2 for row in valid) / 2 / 2
    assert found["ratio"].item() == pytest.approx(ratio)
    student, teacher = given.logits.softmax(1), given.teacher_logits.softmax(1)
    kd_cls = sum((t * (t.log() - s.log())).sum() for s, t in zip(student, teacher, strict=True)) / 2
    assert found["kd_cls"].item() == pytest.approx(kd_cls.item())
    left = [(i, n) for i in range(2) for n in range(7) if valid[i, n]]
    apart = [float(((given.features[at] - given.teacher_features[at]) ** 2).mean()) for at in left]
    assert found["kd_token"].item() == pytest.approx(sum(apart) / len(left))


def test_a_stage_before_the_last_has_the_ratio_alone():
    valid = torch.ones(2, 7).double()
    assert set(reducer().losses([plan_of(valid)], context(blocks=(4, 7), valid=valid))) == {"ratio"}
    assert set(reducer().losses([plan_of(valid)], context(teacher=False, valid=valid))) == {"ratio"}


def test_any_number_of_labels_is_distilled_by_sigmoids():
    valid = torch.ones(2, 7).double()
    given = context(valid=valid, multilabel=True)
    expected = F.binary_cross_entropy(given.logits.sigmoid(), given.teacher_logits.sigmoid())
    assert reducer().losses([plan_of(valid)], given)["kd_cls"].item() == pytest.approx(expected.item())
    softmax = reducer().losses([plan_of(valid)], given._replace(multilabel=False))["kd_cls"]
    released = reducer(as_released=True).losses([plan_of(valid)], given)["kd_cls"]
    assert released.item() == pytest.approx(softmax.item())


def test_an_image_that_lost_all_its_patches_stays_finite():
    gone = torch.zeros(2, 11).double()
    gone[1] = 1
    view = random_view(n=11)._replace(valid=gone)
    assert reducer().train()(view, 5).valid.isfinite().all()
    assert not reducer(as_released=True).train()(view, 5).valid[0].isfinite().all()
    none = torch.zeros(2, 7).double()
    losses = reducer().losses([plan_of(none)], context(valid=none))
    assert losses["kd_token"].item() == 0


def test_it_learns_in_a_loop_of_ones_own():
    import timm

    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, num_classes=4, drop_path_rate=0.0)
    teacher = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, num_classes=4)
    model = atc.wrap(vit, "dynamic_vit", 0.5, blocks=(2, 3)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    totals = []
    for _ in range(8):
        losses = atc.training_losses(model, images, labels, teacher)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        totals.append(losses["total"].item())
    assert totals[-1] < totals[0]
    assert teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
