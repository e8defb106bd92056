"""The axes of ATC's ablations: SciPy's clusters of what the model shows, one tree for all stages, the bias of sizes."""

import numpy as np
import pytest
import timm
import torch
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist

import atc
from atc.core import Stage
from atc.vit.valid import key_bias
from reducers.agglomerative import Agglomerative
from tests.golden import same_partition
from tests.reducers.views import random_view

FEATURES = ["keys", "queries", "values", "input", "attention_output"]


def vit():
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=64, embed_dim=24, depth=4, num_classes=5).double().eval()


def shown(model, images, block):
    """What a block of a dense model computes, by hooks and its own projection: each [B, N, D]."""
    seen = {}
    one = model.blocks[block - 1]
    hooks = [
        one.register_forward_pre_hook(lambda _, args: seen.update(input=args[0])),
        one.attn.qkv.register_forward_hook(lambda _, args, out: seen.update(qkv=out)),
        one.attn.proj.register_forward_hook(lambda _, args, out: seen.update(attention_output=out)),
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    qkv = seen.pop("qkv").unflatten(-1, (3, 3, 8)).mean(dim=3)  # over heads
    seen |= {name: qkv[:, :, place] for place, name in enumerate(("queries", "keys", "values"))}
    return {name: value[:, 1:].numpy() for name, value in seen.items()}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_groups_what_the_block_shows_as_scipy_does(feature, distance):
    images, model = torch.randn(2, 3, 64, 64).double(), vit()
    found = shown(model, images, block=2)[feature]
    reduced = atc.wrap(
        model, "atc_average", keep_rate=0.4, blocks=[2], reducer_args={"feature": feature, "distance": distance}
    )
    with torch.no_grad():
        reduced(images)
    for b in range(2):
        expected = cut_tree(linkage(pdist(found[b], distance), "average"), 6).T
        assert same_partition(reduced.trace[0].labels[b : b + 1], expected)


def test_ward_is_scipys_on_features_and_on_their_directions():
    view = random_view(n=40)
    for distance in ("cosine", "euclidean"):
        plan = Agglomerative(Stage(4, 8, 15), linkage="ward", distance=distance)(view, 15)
        for b in range(2):
            points = view.keys[b] if distance == "euclidean" else torch.nn.functional.normalize(view.keys[b], dim=1)
            assert same_partition(plan.labels[b : b + 1], cut_tree(linkage(points.numpy(), "ward"), 15).T)


@pytest.mark.parametrize("method", ["single", "average", "ward"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_one_shot_cuts_the_tree_of_the_first_stage_lower(method, distance):
    """The tree is SciPy's of the tokens at the first stage, whatever the features are later."""
    images, model = torch.randn(2, 3, 64, 64).double(), vit()
    found = shown(model, images, block=2)["keys"]
    arguments = {"one_shot": True, "distance": distance, "linkage": method}
    reduced = atc.wrap(model, "atc_average", keep_rate=0.6, blocks=[2, 3, 4], reducer_args=arguments)
    with torch.no_grad(), atc.check_plans():
        reduced(images)
        for stage, keep in zip(reduced.trace, (9, 5, 3), strict=True):
            for b in range(2):
                points = found[b] if distance == "euclidean" else found[b] / np.linalg.norm(found[b], axis=1)[:, None]
                tree = linkage(points, "ward") if method == "ward" else linkage(pdist(found[b], distance), method)
                assert same_partition(stage.source[b : b + 1], cut_tree(tree, keep).T)
        reduced(torch.zeros(0, 3, 64, 64).double())


def test_one_stage_of_one_shot_is_the_method_itself():
    view = random_view(n=40)
    one = Agglomerative(Stage(4, 8, 15), one_shot=True)(view, 15)
    assert torch.equal(one.labels, Agglomerative(Stage(4, 8, 15))(view, 15).labels)


def test_equal_and_zero_features_give_clusters():
    view = random_view(n=12)
    for keys in (torch.zeros_like(view.keys), torch.ones_like(view.keys)):
        for settings in ({"distance": "euclidean"}, {"one_shot": True}, {"distance": "euclidean", "linkage": "ward"}):
            plan = Agglomerative(Stage(4, 8, 5), **settings)(view._replace(keys=keys.bfloat16()), 5)
            assert plan.labels.amax(1).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"feature": "key"}, "feature=key must be keys, queries, values, input or attention_output"),
        ({"distance": "l2"}, "distance=l2 must be cosine or euclidean"),
        ({"size_bias": -1}, "size_bias=-1 must be"),
        ({"feature": "values", "as_released": True}, "feature=values distance=cosine one_shot=False with as_released"),
        ({"one_shot": True, "as_released": True}, "leave as_released out"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Agglomerative(Stage(4, 8, 9), **settings)


def test_features_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="feature=queries: these tokens come without; take keys"):
        Agglomerative(Stage(4, 8, 9), feature="queries")(random_view(), 9)


def test_the_bias_of_sizes_is_scaled():
    size, valid = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[True, True, False]])
    torch.testing.assert_close(key_bias(size, None, 1, 0.5), torch.tensor([[0, 0, 0.5 * np.log(2), np.log(2)]]).float())
    torch.testing.assert_close(key_bias(size, valid, 1, 0.5)[0, :3], torch.tensor([0, 0, 0.5 * np.log(2)]).float())
    assert key_bias(size, None, 1, 0) is None
    model, images = vit(), torch.randn(2, 3, 64, 64).double()
    none, zero = (
        atc.wrap(model, "atc_average", keep_rate=0.5, blocks=[2], **settings)
        for settings in ({"proportional_attention": False}, {"reducer_args": {"size_bias": 0.0}})
    )
    with torch.no_grad():
        assert torch.equal(none(images), zero(images))


def test_fitting_finds_the_bias_that_was_meant():
    """Logits to be met come from the same reduced model at .65; only there the divergence is zero."""
    model, images = vit(), torch.randn(4, 3, 64, 64).double()
    target = atc.wrap(model, "atc_average", keep_rate=0.3, blocks=[2], reducer_args={"size_bias": 0.65})
    fitted = atc.wrap(model, "atc_average", keep_rate=0.3, blocks=[2])
    found = atc.fit_size_bias(fitted, target, lambda: images.split(2))
    assert found.beta == 0.65
    assert abs(found.divergences[0.65]) < 1e-12
    assert min(found.divergences) == 0
    assert max(found.divergences) == 2
    assert fitted.reducers["2"].size_bias == 0.65
    with pytest.raises(ValueError, match="a size bias is fitted on images, got none"):
        atc.fit_size_bias(fitted, target, lambda: [])
    with pytest.raises(ValueError, match="got training=True, proportional_attention=True, 1 reducing blocks"):
        atc.fit_size_bias(fitted.train(), target, lambda: [images])
