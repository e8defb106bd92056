"""ViTAdapter beyond the golden settings: other ViTs, methods, sizes, detectors."""

import copy
import pickle

import pytest
import timm
import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

import atc
from atc.config import build
from atc.core import Mix, Reducer
from atc.vit.reduced import reducer_class
from atc.vit.stream import Stream
from tests.dense.adapters import adapter, lively, vit
from tests.reducers.amounts import amount

IMAGES = torch.randn(2, 3, 96, 160)  # 60 patches
METHODS = {name: reducer_class(build.find_reducer(name)) for name in build.names("reducer")}
NO_CLS = {name for name, method in METHODS.items() if "cls_attn" in method.needs}
MIXED = {name for name, method in METHODS.items() if method.soft}
SMALL = {"embed_dim": 48, "num_heads": 3, "depth": 4}


def small(reducer="none", keep_rate=None, blocks=(2, 4), **settings):
    torch.manual_seed(0)
    more = {key: settings.pop(key) for key in ("img_size", "class_token", "drop_path_rate") if key in settings}
    return lively(adapter(reducer, keep_rate, blocks, vit(**SMALL, **more), **settings))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NO_CLS | MIXED])
def test_every_method_that_merges_or_prunes_runs_and_learns(name):
    given = {} if name == "none" else amount(name)
    method = METHODS[name]
    made = small(name, blocks=(2,) if method.one_stage else (2, 4), **given)
    with torch.no_grad(), atc.check_plans():
        maps = made(IMAGES)
    assert {key: tuple(one.shape[1:]) for key, one in maps.items()} == {
        "0": (48, 24, 40), "1": (48, 12, 20), "2": (48, 6, 10), "3": (48, 3, 5)
    }  # fmt: skip
    stages = 1 if method.one_stage else 3 if method.gates else 2  # a gate at block 3, too
    assert len(made.trace) == (stages if method.reduces else 0)
    maps = made.train()(IMAGES)
    sum(one.square().mean() for one in maps.values()).backward()
    missing = [key for key, parameter in made.named_parameters() if parameter.grad is None]
    assert missing == []
    assert bool(made.losses()) == (method.losses is not Reducer.losses)


@pytest.mark.parametrize("name", sorted(NO_CLS))
def test_methods_that_need_a_cls_token_are_refused(name):
    with pytest.raises(ValueError, match="attention of a CLS token, which this ViTAdapter does not have"):
        small(name, 0.5)


@pytest.mark.parametrize("name", sorted(MIXED))
def test_methods_that_mix_are_refused(name):
    with pytest.raises(ValueError, match=r"shares each patch out over several tokens \(Mix\)"):
        small(name, 0.5)


def test_a_method_of_others_that_mixes_is_refused_when_it_does():
    class Blur(Reducer):
        def forward(self, view, keep):
            return Mix(view.x.new_ones(len(view.x), keep, view.x.shape[1]) / view.x.shape[1])

    Blur.exceptions = {"distinct_outputs": "all are the same"}
    with pytest.raises(ValueError, match=r"Blur shares each patch out .* which cannot take patches back"):
        small(Blur, 0.5)(IMAGES)


@pytest.mark.parametrize(
    ("keep_rate", "tokens"), [(0.9, [54, 48]), (0.7, [42, 29]), ([0.5, 0.9], [30, 27]), (0.01, [1])]
)
def test_counts_are_shares_of_the_tokens_that_arrive(keep_rate, tokens):
    made = small("atc_average", keep_rate)
    with torch.no_grad():
        made(IMAGES[:1])
    assert made.trace.tokens() == tokens


def test_the_product_is_that_of_floats():
    made = small("atc_average", 0.7, (1,))
    made(torch.randn(1, 3, 288, 80 * 1 + 16 * 5))  # 18 x 10 patches
    assert made.trace.tokens() == [125]  # int(0.7 * 180), not 126


def test_released_counts_do_not_lag_behind():
    made = small("tome", 0.25, as_released=True)
    with torch.no_grad():
        made(IMAGES)
    assert made.trace.tokens() == [30, 15]
    with pytest.raises(ValueError, match="ToMe cannot leave 1050 of 4200 tokens at block 2"):
        small("tome", 0.25)


def test_a_partial_keeps_its_own_arguments():
    for switch in (False, True):
        factory = build.bind(build.find_reducer("tome"), as_released=switch)
        assert small(factory, 0.5).reducers["2"].as_released == switch
        assert small(factory, 0.5, as_released=True).reducers["2"].as_released


def test_merged_tokens_become_the_mean_of_their_patches():
    made = small("atc_average", 0.5)
    stream = Stream(made, IMAGES, keep_pruned=True)
    for number in range(1, 5):
        stream.step(number)
    values = torch.randn(2, 60, 48)
    stream.replace(values)
    for image in range(2):
        for token in range(15):
            mean = values[image][stream.source[image] == token].mean(dim=0)
            torch.testing.assert_close(stream.x[image, token], mean, rtol=1e-5, atol=1e-5)


def test_without_size_weighting_the_stages_are_applied_again():
    made = small("atc_average", 0.5, size_weighted=False)
    stream = Stream(made, IMAGES)
    for number in range(1, 5):
        stream.step(number)
    values = torch.randn(2, 60, 48)
    stream.replace(values)
    first, second = (stage.labels[0] for stage in stream.trace())
    once = torch.stack([values[0][first == token].mean(dim=0) for token in range(30)])
    twice = torch.stack([once[second == token].mean(dim=0) for token in range(15)])
    torch.testing.assert_close(stream.x[0], twice, rtol=1e-5, atol=1e-5)


def test_dropped_patches_keep_what_exchanges_made_of_them():
    made = small("random", 0.5, (1, 3))
    stream = Stream(made, IMAGES, keep_pruned=True)
    stream.step(1)
    values = torch.randn(2, 60, 48)
    stream.replace(values)
    dropped = stream.source < 0
    assert dropped.sum() == 60
    torch.testing.assert_close(stream.expanded(), values)
    stream.step(2)
    stream.step(3)
    torch.testing.assert_close(stream.expanded()[dropped], values[dropped])  # untouched by blocks they are not in
    assert (stream.source < 0).sum() == 90


def test_ready_tokens_go_through_as_images_do():
    model = atc.wrap(vit(**SMALL), "atc_average", 0.5, blocks=(2, 4)).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        tokens, _ = model.host.embed(images)
        stream = model.start(tokens=tokens, grid=(14, 14))
        for number in range(1, 5):
            stream.step(number)
        torch.testing.assert_close(stream.features(), model.forward_features(images), rtol=0, atol=0)
    with pytest.raises(
        ValueError, match=r"must be \[B, 197, 48\] for this VisionTransformer, got \[2, 197, 48\]|13 x 14"
    ):
        model.start(tokens=tokens, grid=(13, 14))
    with pytest.raises(ValueError, match="need grid="):
        model.start(tokens=tokens)


def test_an_image_does_not_depend_on_its_batch():
    made = small("atc_complete", 0.5)
    with torch.no_grad():
        together, alone = made(IMAGES), made(IMAGES[1:])
    for key, one in alone.items():
        torch.testing.assert_close(together[key][1:], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings", [{"img_size": 32}, {"class_token": False, "global_pool": "avg"}, {"img_size": (64, 128)}]
)
def test_vits_of_any_image_size_with_or_without_a_cls_token(settings):
    made = adapter("atc_average", 0.25, (2, 4), vit(**SMALL, **settings))
    assert made(torch.randn(1, 3, 64, 64))["3"].shape == (1, 48, 2, 2)
    assert made.trace.tokens() == [4, 1]


def test_positions_are_those_of_the_vit_at_its_own_size():
    model = vit(**SMALL, img_size=(64, 128), class_token=True)
    made = adapter(blocks=(2, 4), model=model)
    torch.testing.assert_close(made.host.model.positions((4, 8)), model.pos_embed[:, 1:], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dim", "heads", "depth"), [(768, 12, 12), (1024, 16, 24)])
def test_base_and_large(dim, heads, depth):
    with torch.device("meta"):
        model = timm.models.vision_transformer.VisionTransformer(embed_dim=dim, depth=depth, num_heads=heads)
    with torch.device("meta"):
        made = atc.dense.ViTAdapter(model, "none", deform_heads=heads).eval()
        assert made(torch.empty(1, 3, 64, 64))["3"].shape == (1, dim, 2, 2)
    assert made.out_channels == dim


def test_drop_path_is_that_of_the_last_block():
    made = small(drop_path_rate=0.2)
    rates = {extractor.drop_path.drop_prob for one in made.interactions for extractor in one.extractors()}
    assert [round(rate, 6) for rate in rates] == [0.2]
    assert isinstance(small().interactions[0].extractor.drop_path, torch.nn.Identity)


def test_recomputing_activations_changes_nothing():
    grads = []
    for enable in (False, True):
        made = small("atc_average", 0.5).train()
        made.set_grad_checkpointing(enable)
        sum(one.sum() for one in made(IMAGES).values()).backward()
        grads.append([parameter.grad.clone() for parameter in made.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_copies_and_pickles_are_the_same_model():
    made = small("atc_average", 0.5)
    with torch.no_grad():
        expected = made(IMAGES)
        for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert torch.equal(other(IMAGES)["0"], expected["0"])
            assert list(other.state_dict()) == list(made.state_dict())


def test_bfloat16_autocast_runs():
    made = small("atc_average", 0.5).train()
    with torch.autocast("cpu", torch.bfloat16):
        maps = made(IMAGES)
    sum(one.float().sum() for one in maps.values()).backward()
    assert all(one.isfinite().all() for one in maps.values())


def test_injectors_do_nothing_at_first():
    torch.manual_seed(0)
    made = adapter(blocks=(2, 4), model=vit(**SMALL))
    assert all((one.injector.gamma == 0).all() for one in made.interactions)
    assert float(made.spm.fc1.weight.detach().std()) == pytest.approx((2 / 48) ** 0.5, rel=0.1)


def test_synchronised_batch_norms_keep_the_names():
    made = small()
    names = list(made.state_dict())
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(made)
    assert sum(isinstance(one, torch.nn.SyncBatchNorm) for one in converted.modules()) == 10
    assert list(converted.state_dict()) == names


@pytest.mark.parametrize(
    ("build_vit", "message"),
    [
        (lambda: vit(patch_size=32), "its patch size is 32 x 32 pixels; .* needs 16 x 16"),
        (lambda: vit(depth=6), "a depth of 6 blocks cannot be divided among 4 interactions"),
        (lambda: timm.create_model("eva02_tiny_patch14_224", patch_size=16), "it has rotary positions"),
        (lambda: timm.create_model("vit_relpos_small_patch16_224"), "adds relative-position biases"),
        (lambda: vit(pre_norm=True), "norm before its first block"),
        (lambda: vit(pos_embed="none"), "no learned positions"),
        (lambda: atc.wrap(vit(), "none"), "wrapped already"),
        (lambda: torch.nn.Linear(1, 1), "Linear is not a plain ViT"),
    ],
)
def test_refused_vits(build_vit, message):
    with pytest.raises(ValueError, match=message) as caught:
        adapter(model=build_vit())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reducer": "atc_average"}, r"needs a keep_rate in \(0, 1\]"),
        ({"reducer": "atc_averag", "keep_rate": 0.5}, "did you mean 'atc_average'"),
        ({"reducer": "tome", "keep_rate": 1.5}, r"keep_rate=1.5 must lie in \(0, 1\]"),
        ({"reducer": "tome", "keep_rate": [0.5, 0.5]}, "one share for each of the blocks"),
        ({"reducer": "tome", "keep_rate": 0.5, "blocks": (4, 13)}, "must lie in 1..12"),
        ({"deform_heads": 5}, "deform_heads=5 must divide the 48 channels"),
        ({"deform_ratio": 0.0}, "deform_ratio=0.0 must be positive"),
        ({"cffn_ratio": 0.01}, "leaves no channel"),
        ({"reducer": "tome", "keep_rate": 0.5, "reducer_args": {"k": 1}}, "ToMe has no argument 'k'"),
    ],
)
def test_refused_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        atc.dense.ViTAdapter(vit(), **{"conv_inplane": 16, "deform_heads": 3} | arguments)


@pytest.mark.parametrize(
    ("height", "width", "fitting"), [(96, 100, "96 x 128"), (8, 32, "32 x 32"), (0, 32, "32 x 32")]
)
def test_refused_sides(height, width, fitting):
    with pytest.raises(ValueError, match=f"multiples of 32; pad them to {fitting}"):
        small()(torch.zeros(1, 3, height, width))
    with pytest.raises(ValueError, match=r"one image is images\[None\]"):
        small()(torch.zeros(3, 32, 32))
    with pytest.raises(ValueError, match=r"images must be \[B, 3, H, W\], got list"):
        small()([torch.zeros(3, 32, 32)])


def test_no_image_gives_no_map():
    with torch.no_grad():
        assert small("atc_average", 0.5)(IMAGES[:0])["2"].shape == (0, 48, 6, 10)


def test_it_has_no_logits():
    with pytest.raises(ValueError, match="gives feature maps, not tokens or logits"):
        small().forward_features(IMAGES)


def _anchors() -> AnchorGenerator:
    return AnchorGenerator(((16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [FasterRCNN, RetinaNet, MaskRCNN])
def test_detectors_of_torchvision_take_it(kind, precision):
    name = "anchor_generator" if kind is RetinaNet else "rpn_anchor_generator"
    detector = kind(small("atc_average", 0.5), num_classes=3, min_size=64, max_size=128, **{name: _anchors()})
    images = [torch.rand(3, 60, 90), torch.rand(3, 80, 50)]
    boxes = torch.tensor([[5.0, 5.0, 40.0, 45.0]])
    masks = torch.zeros(1, 1, 1, dtype=torch.uint8)
    targets = [
        {"boxes": boxes, "labels": torch.tensor([1]), "masks": masks.expand(1, *image.shape[-2:]).clone()}
        for image in images
    ]
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = detector.train()(images, targets)
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    grads = [p.grad for p in detector.backbone.blocks.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)
    with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found = detector.eval()(images)
    assert len(found) == 2
    assert found[0]["boxes"].isfinite().all()
