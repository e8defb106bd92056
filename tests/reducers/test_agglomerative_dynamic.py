"""ATC up to a distance, in plans and in whole models, against SciPy and against ATC at the same counts."""

import copy
from functools import partial

import pytest
import timm
import torch
from torch.nn import functional as F

import atc
from atc.core import Stage, Stages
from atc.ops.linkage import cosine_distance, labels_from_features
from atc.vit.packing import Packed
from reducers.agglomerative_dynamic import DynamicAgglomerative
from tests.ops.test_linkage_threshold import by_scipy
from tests.reducers.views import random_view
from tests.vit.wrapped import vit

BATCH = 6
THRESHOLD = [0.3, 0.35]


def pictures(batch=BATCH, size=64):
    """Images of more and less contrast, which leave different numbers of tokens."""
    drawn = torch.randn(batch, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.interpolate(drawn, size=size, mode="bilinear").double() * torch.arange(1, batch + 1)[:, None, None, None]


def model(name="atc_average_dynamic", threshold=THRESHOLD, pool="token", **settings):
    host = vit(patch_size=8, global_pool=pool, class_token=pool == "token").double()
    return atc.wrap(host, name, threshold=threshold, blocks=(2, 3), **settings)


def reducer(threshold=0.8, number=1, **settings):
    return DynamicAgglomerative(Stage(4, 8, 23, number=number, threshold=threshold), **settings)


@pytest.mark.parametrize("linkage", ["single", "complete", "average"])
def test_the_partition_is_that_of_scipy_image_by_image(linkage):
    view = random_view(batch=4)
    real = torch.tensor([23, 17, 8, 1])
    valid = torch.arange(23) < real[:, None]
    for threshold in (0.0, 0.5, 2.0):
        for given in (view, view._replace(valid=valid)):
            plan = reducer(threshold, linkage=linkage)(given, 23)
            plan.check_contents()
            for image, distance in enumerate(cosine_distance(view.keys)):
                n = 23 if given.valid is None else int(real[image])
                expected = by_scipy(distance[:n, :n], threshold, linkage)
                assert plan.labels[image, :n].tolist() == expected
                assert plan.valid[image].sum() == len(set(expected))
    assert plan.valid.sum(dim=1).tolist() == [1, 1, 1, 1]  # at 2, all are merged


def test_bounds_hold_whatever_the_distances():
    view = random_view(batch=4)
    counts = {}
    for bounds in ({}, {"keep_min": 9}, {"keep_max": 5}, {"keep_min": [3, 9], "keep_max": [3, 9]}):
        made = reducer(0.6, number=2, keep_min=bounds.get("keep_min", 1), keep_max=None)
        most = DynamicAgglomerative.most(2, 23, **bounds)
        counts[str(bounds)] = made(view, most).valid.sum(dim=1).tolist()
    free, floor, cap, both = counts.values()
    assert floor == [max(count, 9) for count in free] != free
    assert cap == [min(count, 5) for count in free] != free
    assert both == [9] * 4
    fixed = reducer(0.6, number=2, keep_min=[3, 9])(view, 9)
    assert torch.equal(fixed.labels, labels_from_features(view.keys, 9, "average"))


WRONG = {
    "cap below floor": ({"keep_min": 4, "keep_max": 3}, "keep_max=3 must be at least as many as keep_min=4"),
    "too few": ({"keep_max": [5]}, r"keep_max=\[5\] needs one number for each stage, and there is a stage 2"),
    "none": ({"keep_min": 0}, "keep_min=0"),
    "linkage": ({"linkage": "nearest"}, "linkage=nearest must be"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
def test_bounds_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        reducer(number=2, **wrong)


@torch.no_grad()
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_an_image_is_what_it_is_alone_and_what_atc_makes_of_it_at_its_counts(pool):
    reduced = model(pool=pool)
    whole, trace = reduced(pictures()), reduced.trace
    assert [len(set(stage.count.tolist())) > 1 for stage in trace] == [True, True]
    assert trace.tokens() == [int(stage.count.max()) for stage in trace]
    for image in range(BATCH):
        alone = reduced(pictures()[image : image + 1])
        counts = [int(stage.count[image]) for stage in trace]
        assert reduced.trace.tokens() == counts
        torch.testing.assert_close(alone[0], whole[image], rtol=0, atol=1e-12)
        static = atc.wrap(copy.deepcopy(atc.unwrap(reduced)), "atc_average", schedule=Stages(None, (2, 3), counts))
        torch.testing.assert_close(static(pictures()[image : image + 1])[0], alone[0], rtol=0, atol=1e-12)
        assert torch.equal(static.trace[-1].source[0], trace[-1].source[image])
    features = trace.unmerge(torch.randn(BATCH, trace[-1].tokens_out, 3))
    assert features.shape == (BATCH, 64, 3)


def rotating(**settings):
    host = timm.create_model("eva02_tiny_patch14_224", img_size=56, depth=4, num_classes=5, embed_dim=48, num_heads=3)
    return atc.wrap(host.double().eval(), "atc_average_dynamic", threshold=THRESHOLD, blocks=(2, 3), **settings)


HOSTS = {
    "fused": model,
    "explicit": model,
    "without sizes": partial(model, proportional_attention=False),
    "pooled": partial(model, pool="avg"),
    "rotary embeddings": rotating,
}


@pytest.mark.parametrize("price", [0, 2])  # spans of equally many tokens, and with padding
@pytest.mark.parametrize("kind", HOSTS)
def test_packing_changes_no_result_and_no_gradient(kind, price, monkeypatch):
    monkeypatch.setattr("atc.vit.packing._PRICE", price)
    found, spans = [], []
    for training in (False, True):  # packed, and padded
        torch.manual_seed(0)
        reduced = HOSTS[kind]().train(training)
        for block in reduced.host.blocks:
            block.attn.fused_attn = kind != "explicit"
        stream = reduced.start(pictures(size=reduced.host.model.patch_embed.img_size[0]))
        for number in range(1, reduced.depth + 1):
            stream.step(number)
            if isinstance(stream.held, Packed):
                assert not training
                counts = len(stream.valid.sum(dim=1).unique())
                spans.append((len(stream.packing.spans), counts))
        logits = stream.finish()
        logits.square().sum().backward()
        found.append((logits, [parameter.grad for parameter in reduced.parameters()]))
    assert any(some < counts for some, counts in spans) if price else all(some == counts for some, counts in spans)
    assert len(spans) == 3 or price
    (packed, gradients), (together, wanted) = found
    torch.testing.assert_close(packed, together, rtol=0, atol=1e-12)
    assert all(gradient.isfinite().all() for gradient in gradients)
    torch.testing.assert_close(gradients, wanted, rtol=0, atol=1e-10)


def test_a_cap_is_what_a_compiled_model_has_slots_for():
    reduced = model(reducer_args={"keep_max": [20, 12]})
    assert [count.keep for count in reduced.stage_counts] == [20, 12]
    with torch.no_grad():
        expected, counts = reduced(pictures()), [stage.count for stage in reduced.trace]
        torch.compiler.reset()
        found = torch.compile(reduced, fullgraph=True, backend="aot_eager")(pictures())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert reduced.trace.tokens() == [20, 12]
        assert all(torch.equal(a, stage.count) for a, stage in zip(counts, reduced.trace, strict=True))
        exported = torch.export.export(reduced, (pictures(),)).module()
        torch.testing.assert_close(exported(pictures()), expected, rtol=0, atol=1e-12)


TOLD = {
    "neither": ({}, "DynamicAgglomerative merges up to a distance: give a threshold"),
    "both": ({"threshold": 0.3, "keep_rate": 0.5}, "give either threshold or keep_rate, got threshold=0.3"),
    "t": ({"threshold": 0.3, "t": 8}, "give either threshold or t, got threshold=0.3 and t=8"),
    "keep rate": ({"keep_rate": 0.5}, "DynamicAgglomerative merges up to a distance: give a threshold"),
    "constant": ({"threshold": 0.3, "schedule": "constant"}, 'threshold=0.3 is for schedule="stages"'),
    "a schedule": ({"threshold": 0.3, "schedule": Stages(0.5)}, "threshold=0.3 makes a schedule of its own"),
    "length": (
        {"threshold": [0.3, 0.2]},
        r"threshold=\[0.3, 0.2\] needs one number for each of the blocks \[4, 7, 10\]",
    ),
    "NaN": ({"threshold": float("nan")}, "threshold=nan must be finite"),
    "negative": ({"threshold": -0.1}, "threshold=-0.1 must be"),
    "another method": ({"reducer": "tome", "threshold": 0.3}, "ToMe takes no threshold, got 0.3"),
}


@pytest.mark.parametrize(("given", "said"), TOLD.values(), ids=TOLD)
def test_one_line_for_what_does_not_go_together(given, said):
    with pytest.raises(ValueError, match=said) as error:
        atc.wrap(vit(), **{"reducer": "atc_average_dynamic", **given})
    assert "\n" not in str(error.value)


def test_a_threshold_is_one_for_all_stages_or_one_each():
    assert [count.threshold for count in model().stage_counts] == THRESHOLD
    assert [count.threshold for count in model(threshold=0.2).stage_counts] == [0.2, 0.2]
    assert [reducer.stage.threshold for reducer in model().reducers.values()] == THRESHOLD
    assert atc.wrap(vit(), "none", threshold=0.3).trace == ()
