"""ATS against its definition in loops, what it keeps of padded tokens, and the authors' numbers."""

import numpy as np
import pytest
import timm
import torch

import atc
from atc.core import Stage
from reducers.ats import ATS
from tests import golden
from tests.reducers.views import random_view


def view_of(n=23, seed=0, real=None, peaked=1.0, batch=2):
    """A view with values, whose attention is more or less peaked; `real` tokens of each image are no padding."""
    view = random_view(n=n, seed=seed, batch=batch)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, 3, n, 5, generator=generator).double()
    attention = (peaked * view.cls_attn.log()).softmax(dim=-1)
    if real is None:
        return view._replace(values=values, cls_attn=attention)
    valid = torch.arange(n) < torch.tensor(real)[:, None]
    return view._replace(values=values, cls_attn=attention.masked_fill(~valid[:, None], 0), valid=valid)


def chosen_of(view, image, keep):
    """The tokens of one image by the definition, one by one, in float64."""
    tokens = view.x.shape[1] if view.valid is None else int(view.valid[image].sum())
    matters = [
        sum(
            float(view.cls_attn[image, head, token]) * float(view.values[image, head, token].square().sum()) ** 0.5
            for head in range(3)
        )
        for token in range(tokens)
    ]
    running, total = [], 0.0
    for one in matters:
        total += one / (sum(matters) + 1e-6)
        running.append(total)
    points = [(2 * i + 1) / (2 * (keep + 1)) for i in range(keep)]
    return sorted({min(range(tokens), key=lambda token: abs(running[token] - point)) for point in points})


@pytest.mark.parametrize("peaked", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("n", "keep"), [(23, 1), (23, 9), (23, 20), (23, 23), (60, 41)])
def test_by_loops(n, keep, peaked):
    view = view_of(n, seed=keep, peaked=peaked)
    plan = ATS(Stage(4, 8, keep))(view, keep)
    assert plan.num_out == keep
    for image in range(2):
        expected = chosen_of(view, image, keep)
        assert plan.indices[image][plan.valid[image]].tolist() == expected
        assert plan.valid[image].tolist() == [slot < len(expected) for slot in range(keep)]
    plan.check_contents()


@pytest.mark.parametrize("as_released", [False, True])
def test_padding_is_never_chosen(as_released):
    view = view_of(23, real=[4, 17])
    plan = ATS(Stage(4, 8, 12), as_released=as_released)(view, 12)
    for image in range(2):
        assert plan.indices[image][plan.valid[image]].tolist() == chosen_of(view, image, 12)


@pytest.mark.parametrize("as_released", [False, True])
def test_tokens_that_nobody_looks_at_leave_one(as_released):
    view = view_of(23)
    view = view._replace(values=torch.zeros_like(view.values))
    plan = ATS(Stage(4, 8, 5), as_released=as_released)(view, 5)
    assert plan.valid.sum(dim=1).tolist() == [1, 1]
    plan.check_contents()


def test_an_image_keeps_the_same_alone():
    view = view_of(40, batch=4, peaked=2.0)
    together = ATS(Stage(4, 8, 17))(view, 17)
    for image in range(4):
        one = view._replace(x=view.x[image, None], cls_attn=view.cls_attn[image, None], values=view.values[image, None])
        alone = ATS(Stage(4, 8, 17))(one, 17)
        assert torch.equal(alone.indices[0], together.indices[image])
        assert torch.equal(alone.valid[0], together.valid[image])


def test_points_as_released_are_those_of_float32():
    """98 of them where 97 patches are to be kept: the end that is left out is rounded up."""
    uniform = view_of(196)._replace(cls_attn=torch.ones(2, 3, 196).double(), values=torch.ones(2, 3, 196, 5).double())
    distances = [
        ATS(Stage(4, 8, 97), as_released=released)._distances(torch.ones(2, 196), 97) for released in (False, True)
    ]
    assert [found.shape[1] for found in distances] == [97, 98]
    plan = ATS(Stage(4, 8, 97), as_released=True)(uniform, 97)
    assert plan.num_out == 97
    plan.check_contents()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    view = view_of(60, peaked=0.5)
    half = view._replace(x=view.x.to(dtype), values=view.values.to(dtype), cls_attn=view.cls_attn.to(dtype))
    exact = half._replace(values=half.values.double(), cls_attn=half.cls_attn.double())
    plan = ATS(Stage(4, 8, 41))(half, 41)
    for image in range(2):
        found, expected = set(plan.indices[image][plan.valid[image]].tolist()), set(chosen_of(exact, image, 41))
        assert len(found ^ expected) <= 2  # a tie may go either way


def in_evaluation(as_released, dtype=torch.float64, images=slice(None)):
    model = atc.wrap(golden.vit(dtype=dtype), "ats", 0.5, as_released=as_released)
    with torch.no_grad():
        return model(golden.images(dtype)[images]).numpy(), model.trace


@pytest.mark.parametrize("as_released", [False, True])
def test_golden_logits(as_released):
    expected = golden.outputs("training")["ats_f64|logits"]
    logits, _ = in_evaluation(as_released)
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
    for image in range(6):
        alone, _ = in_evaluation(as_released, images=slice(image, image + 1))
        np.testing.assert_allclose(alone[0], expected[image], rtol=1e-9, atol=1e-9)


def test_golden_logits_of_float32():
    logits, trace = in_evaluation(True, torch.float32)
    expected = golden.outputs("stages_all_methods")
    np.testing.assert_allclose(logits, expected["ats|r=0.5|logits"], rtol=2e-3, atol=2e-3)
    for stage, found in enumerate(trace, start=1):
        for labels, tokens in zip(found.labels, expected[f"ats|r=0.5|stage{stage}|Kept_Tokens"], strict=True):
            assert (labels >= 0).nonzero().flatten().tolist() == [token for token in tokens.tolist() if token >= 0]


def test_no_token_of_another_image_is_waited_for():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4, num_classes=5).eval()
    model = atc.wrap(vit, "ats", 0.5, blocks=(2, 3))
    with torch.no_grad():
        model(torch.rand(3, 3, 64, 64))
    assert model.trace.tokens() == [8, 4]  # slots, whatever the images keep
    assert model.trace.padded()
