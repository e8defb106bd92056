"""Reducers that break their contract: shapes are checked at all times, values where that was asked for."""

import re
import subprocess
import sys

import pytest
import timm
import torch

import atc
from atc.core import Assign, Mix, Reducer, Select, checking


def broken(forward):
    """A model whose reducers make their plans with `forward(view, keep)`."""

    class Broken(Reducer):
        def forward(self, view, keep):
            return forward(view, keep)

    return atc.wrap(small_vit(), Broken, keep_rate=0.5)


def small_vit():
    """16 patches, untrained."""
    return timm.create_model("vit_tiny_patch16_224", img_size=64, embed_dim=24, num_classes=5).eval()


def logits(model, images=None):
    with torch.no_grad():
        return model(torch.randn(2, 3, 64, 64) if images is None else images)


def first(view, count):
    return torch.arange(count).expand(len(view.x), -1)


def even(view, keep):
    return (torch.arange(view.x.shape[1]) % keep).expand(len(view.x), -1)


def weights(view, value):
    return torch.full(view.x.shape[:2], value)


@pytest.fixture
def unchecked(monkeypatch):
    """As users have it: without ATC_CHECK_PLANS, which is on in the other tests."""
    monkeypatch.setattr(checking, "_ALWAYS", False)


SHAPES = {
    "no plan": (lambda v, k: even(v, k), "must return a Plan .* got a Tensor"),
    "none": (lambda v, k: None, "must return a Plan .* got a NoneType"),
    "too many": (lambda v, k: Select(first(v, k + 1), 16), "8 of 16 tokens have to come out, got num_out=9"),
    "too few": (lambda v, k: Select(first(v, k - 1), 16), "got num_out=7"),
    "another batch": (lambda v, k: Select(first(v, k)[:1], 16), r"indices must be int64 \[2, 8\]"),
    "indices of 32 bits": (lambda v, k: Select(first(v, k).int(), 16), r"indices must be int64 \[B, K\]"),
    "other tokens": (lambda v, k: Select(first(v, k), 20), r"labels must be int64 \[2, 16\]"),
    "index outside": (lambda v, k: Select(first(v, k) + 16, 16), r"indices must lie in \[0, 16\), got 16"),
    "no labels": (lambda v, k: Assign(None, k), r"labels must be int64 \[2, 16\], got None"),
    "labels that are no integers": (lambda v, k: Assign(even(v, k).float(), k), r"labels must be int64"),
    "a number of tokens that is none": (lambda v, k: Assign(even(v, k), float(k)), "got num_out=8.0"),
    "one weight for all": (lambda v, k: Assign(even(v, k), k, torch.ones(1)), r"weight must be floating \[2, 16\]"),
    "weights in a list": (lambda v, k: Mix([[1.0]]), r"weights must be floating \[B, K, N\], got \[\[1.0\]\]"),
    "weights the wrong way round": (lambda v, k: Mix(torch.ones(2, 16, k)), "got num_out=16"),
}

VALUES = {
    "nothing for an output": (
        lambda v, k: Assign(0 * even(v, k), k),
        "no input token goes to output token 1 of image 0",
    ),
    "all dropped": (lambda v, k: Assign(0 * even(v, k) - 1, k), "no input token goes to output token 0"),
    "kept twice": (lambda v, k: Select(0 * first(v, k), v.x.shape[1]), "an input token is kept twice in image 0"),
    "an empty cluster": (
        lambda v, k: Select(first(v, k), v.x.shape[1], 0 * even(v, k)),
        "no input token goes to output token 1",
    ),
    "NaN": (lambda v, k: Assign(even(v, k), k, weights(v, torch.nan)), "weight of token 0 of image 0 is not finite"),
    "no weight": (lambda v, k: Assign(even(v, k), k, weights(v, 0.0)), "output token 0 of image 0 sum to zero"),
    "NaN in a matrix": (
        lambda v, k: Mix(torch.full((2, k, v.x.shape[1]), torch.nan)),
        "output token 0 of image 0 is not finite",
    ),
    "an empty row": (lambda v, k: Mix(torch.zeros(2, k, v.x.shape[1])), "no input token goes to output token 0"),
    "division by zero": (lambda v, k: Assign(even(v, k), k, eps=-2.0), "reduced tokens are not finite, although"),
    "tokens overwritten": (
        lambda v, k: (v.x.fill_(torch.nan), Assign(even(v, k), k))[1],
        "reduced tokens are not finite",
    ),
}


@pytest.mark.parametrize(("forward", "said"), SHAPES.values(), ids=SHAPES)
def test_shapes_are_checked_at_all_times(forward, said, unchecked):
    with pytest.raises(ValueError, match=f"^Broken at block 4: .*{said}") as error:
        logits(broken(forward))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("forward", "said"), VALUES.values(), ids=VALUES)
def test_values_are_checked_on_request(forward, said, unchecked):
    model = broken(forward)
    logits(model)
    with atc.check_plans(), pytest.raises(ValueError, match=f"^Broken at block 4: .*{said}") as error:
        logits(model)
    assert "\n" not in str(error.value)
    logits(model)  # and not any more


def ranked(view, keep):
    return view.cls_attn.mean(dim=1).topk(keep, dim=1).indices


NOT_ASKED_FOR = {
    "a method of None": (lambda v, k: Select(v.cls_attn.mean(1).topk(k, 1).indices, 16), "cls_attn"),
    "in a function": (lambda v, k: Select(ranked(v, k), 16), "cls_attn"),
    "handed to PyTorch": (lambda v, k: Select(torch.topk(v.attention_output, k, 1).indices, 16), "attention_output"),
    "an operator": (lambda v, k: Select((v.values * 2).topk(k, 1).indices, 16), "values"),
}


@pytest.mark.parametrize(("forward", "field"), NOT_ASKED_FOR.values(), ids=NOT_ASKED_FOR)
def test_a_field_that_was_not_asked_for_is_named(forward, field):
    said = f"{field} of the view is None where the class does not say needs = frozenset({{'{field}'}})"
    with pytest.raises(ValueError, match=f"^{re.escape(f'Broken at block 4: {said}')}$"):
        logits(broken(forward))


def test_other_mistakes_with_none_are_as_python_has_them():
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'labels'"):
        logits(broken(lambda v, k: v.plan.labels))
    with pytest.raises(AttributeError, match="no attribute 'tokens'"):
        logits(broken(lambda v, k: v.tokens))


FIELDS = "a set of cls_attn, values, attn, queries, input, attention_output, as in needs = frozenset({'cls_attn'})"
ATTRIBUTES = {
    "text": ({"needs": "cls_attn"}, f"Wrong.needs='cls_attn' must be {FIELDS}"),
    "a tuple": ({"needs": ("cls_attn",)}, f"Wrong.needs=('cls_attn',) must be {FIELDS}"),
    "a typo": (
        {"needs": frozenset({"cls_attention", "values"})},
        f"Wrong.needs: cls_attention is no field that can be asked for; it must be {FIELDS}",
    ),
    "another site": ({"site": "after_block"}, "Wrong.site='after_block' must be 'after_attention' or 'before_block'"),
}


@pytest.mark.parametrize(("attributes", "said"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_attributes_are_checked_where_the_class_is_made(attributes, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        type("Wrong", (Reducer,), attributes)


def test_what_an_instance_needs_is_checked_at_wrapping():
    class Wrong(Reducer):
        def __init__(self, stage):
            super().__init__(stage)
            self.needs = frozenset({"key"})

        def forward(self, view, keep):
            raise NotImplementedError

    with pytest.raises(ValueError, match=r"^Wrong\.needs: key is no field that can be asked for"):
        atc.wrap(small_vit(), Wrong, 0.5)


def test_values_are_checked_where_the_environment_says_so():
    code = (
        "import importlib, os\n"
        "from atc.core import checking\n"
        "for value in ('1', '0', ''):\n"
        "    os.environ['ATC_CHECK_PLANS'] = value\n"
        "    print(importlib.reload(checking)._ALWAYS)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "False", "False"]
    assert checking._ALWAYS  # in all tests, by conftest


def test_what_the_tokens_hold_is_not_held_against_the_reducer():
    images = torch.randn(2, 3, 64, 64)
    images[0, 0, 0, 0] = torch.nan
    with atc.check_plans():
        found = logits(broken(lambda v, k: Assign(even(v, k), k)), images)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()
