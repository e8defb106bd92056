"""The detector's rules against loops, and its life with images of all sorts."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

import atc
from atc.dense import masks
from atc.dense.boxes import MOST, Anchors, Coder, Matcher
from atc.dense.transform import resized
from tests.dense.adapters import adapter, lively, vit

SMALL = {"fpn_channels": 16, "head_channels": 24, "mask_channels": 12, "mask_layers": 2}


def detector(reducer="atc_average", keep_rate=0.5, **settings):
    torch.manual_seed(0)
    body = lively(adapter(reducer, keep_rate, (2, 4), vit(depth=4)))
    return atc.dense.mask_rcnn(body, 5, **{**SMALL, "min_size": 64, "max_size": 128} | settings)


def target(height, width, boxes=((4.0, 4.0, 40.0, 44.0), (10.0, 20.0, 30.0, 50.0))):
    shapes = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for shape, (x0, y0, x1, y1) in zip(shapes, boxes, strict=True):
        shape[int(y0) : int(y1), int(x0) : int(x1)] = 1
    labels = torch.arange(1, len(boxes) + 1)
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": labels, "masks": shapes}


def matched_by_loops(overlaps, high, low, least):
    """mmdet's MaxIoUAssigner, one box and one object at a time."""
    objects, boxes = overlaps.shape
    found = []
    for box in range(boxes):
        best = max(float(overlaps[o, box]) for o in range(objects))
        first = next(o for o in range(objects) if float(overlaps[o, box]) == best)
        found.append(first if best >= high else -1 if best < low else -2)
    for o in range(objects):
        best = float(overlaps[o].max())
        if best >= least:
            for box in range(boxes):
                if float(overlaps[o, box]) == best:
                    found[box] = o
    return found


@pytest.mark.parametrize(("high", "low", "least"), [(0.7, 0.3, 0.3), (0.5, 0.5, 0.5)])
def test_matches_against_loops(high, low, least):
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        overlaps = (torch.rand(4, 12, dtype=torch.float64) * 10).round() / 10  # many ties
        found = Matcher(high, low, least)(overlaps).tolist()
        assert found == matched_by_loops(overlaps, high, low, least)
        seen |= set(found)
    assert {-1, 0, 3} <= seen


def test_matches_without_objects_or_boxes():
    matcher = Matcher(0.7, 0.3, 0.3)
    assert matcher(torch.zeros(0, 3)).tolist() == [-1, -1, -1]
    assert matcher(torch.zeros(3, 0)).tolist() == []


def test_changes_of_sides_are_bounded_on_both_ends():
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    for weights in ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)):
        (large, small) = (
            Coder(weights).decode(torch.tensor([[0.0, 0.0, change, change]]), [boxes])[0, 0] for change in (1e3, -1e3)
        )
        assert float(large[2] - large[0]) == pytest.approx(1000, rel=1e-4)
        assert float(small[2] - small[0]) == pytest.approx(16 * np.exp(-MOST), rel=1e-3)


def test_what_is_encoded_is_decoded():
    torch.manual_seed(0)
    boxes, goals = (torch.rand(2, 5, 4, dtype=torch.float64) + torch.tensor([0.0, 0.0, 3.0, 2.0]) for _ in range(2))
    coder = Coder((10.0, 10.0, 5.0, 5.0))
    changes = coder.encode(list(goals), list(boxes))
    assert float(changes[0, 2]) == pytest.approx(
        5 * np.log(float((goals[0, 0, 2] - goals[0, 0, 0]) / (boxes[0, 0, 2] - boxes[0, 0, 0])))
    )
    torch.testing.assert_close(coder.decode(changes.repeat(1, 3), list(boxes))[:, 1], goals.flatten(0, 1))


def test_anchors_beyond_an_images_own_padding_are_left_out():
    anchors = Anchors((32, 64), (4, 8))
    maps = [torch.zeros(1, 1, 16, 24), torch.zeros(1, 1, 8, 12)]  # of 64 x 96 pixels
    inside = anchors.inside((30, 33), maps)  # padded by itself: 32 x 64
    centres = [
        (x, y)
        for stride, h, w in ((4, 16, 24), (8, 8, 12))
        for y in range(0, h * stride, stride)
        for x in range(0, w * stride, stride)
    ]
    assert inside.tolist() == [x < 64 and y < 32 for x, y in centres for _ in range(3)]
    assert anchors.inside((64, 96), maps).all()


def test_samples_of_anchors_and_proposals():
    made = detector().train()
    images = ImageList(torch.zeros(1, 3, 64, 96), [(64, 96)])
    features = made.backbone(torch.randn(1, 3, 64, 96))
    (own,) = made.rpn.anchor_generator(images, list(features.values()))
    inside = torch.ones(len(own), dtype=torch.bool)
    one = target(64, 96)
    labels, _ = made.rpn._matches([own], [inside], [one])
    positive, negative = made.rpn.fg_bg_sampler(labels)
    matched = int((labels[0] == 1).sum())
    assert 0 < matched < 128
    assert int(positive[0].sum()) == matched
    assert int(negative[0].sum()) == 256 - matched

    many = torch.cat([one["boxes"][:1] + torch.rand(300, 4), torch.rand(900, 4) * 8 + torch.tensor([50.0, 0, 70, 20])])
    (sampled,) = made.roi_heads.samples([many], [one])
    assert len(sampled.boxes) == 512
    assert int((sampled.labels > 0).sum()) == 128  # a quarter
    overlaps = box_iou(one["boxes"], sampled.boxes)
    assert (overlaps.amax(dim=0)[sampled.labels > 0] >= 0.5).all()
    assert (overlaps.amax(dim=0)[sampled.labels == 0] < 0.5).all()


def test_objects_join_the_proposals_after_these_were_matched():
    made = detector().train()
    one = target(64, 96)
    near = one["boxes"][:1] + torch.tensor([1.0, 0.0, 0.0, 0.0])
    (sampled,) = made.roi_heads.samples([torch.cat([near, torch.tensor([[60.0, 0.0, 90.0, 30.0]])])], [one])
    assert sampled.labels.tolist() == [1, 2, 1, 0]
    assert sampled.objects.tolist() == [0, 1, 0, 0]
    assert torch.equal(sampled.boxes[:2], one["boxes"])


def pasted_by_loops(mask, box, height, width):
    out, side = torch.zeros(height, width, dtype=mask.dtype), mask.shape[0]
    x0, y0, x1, y1 = box.tolist()
    for y in range(height):
        for x in range(width):
            column, row = (x + 0.5 - x0) / (x1 - x0) * side - 0.5, (y + 0.5 - y0) / (y1 - y0) * side - 0.5
            for i in range(side):
                for j in range(side):
                    out[y, x] += max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j)) * mask[i, j]
    return out


def test_pasting_against_loops():
    torch.manual_seed(0)
    small = torch.rand(3, 4, 4, dtype=torch.float64)
    boxes = torch.tensor([[1.0, 2.0, 7.5, 6.2], [-3.0, -1.0, 4.0, 12.0], [5.2, 5.1, 5.9, 5.3]], dtype=torch.float64)
    found = masks.paste(small, boxes, (9, 11))
    for one, mask, box in zip(found, small, boxes, strict=True):
        torch.testing.assert_close(one, pasted_by_loops(mask, box, 9, 11))


def test_pasting_boxes_without_extent_is_finite():
    found = masks.paste(torch.rand(2, 4, 4), torch.tensor([[2.0, 2.0, 2.0, 5.0], [2.5, 2.5, 2.5, 2.5]]), (6, 6))
    assert found.isfinite().all()
    assert masks.paste(torch.rand(0, 4, 4), torch.zeros(0, 4), (6, 6)).shape == (0, 6, 6)


def test_mask_targets_are_halves_and_more():
    shape = torch.zeros(1, 8, 8, dtype=torch.uint8)
    shape[0, :, :4] = 1
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [3.0, 0.0, 7.0, 8.0]])
    found = masks.targets(shape, boxes, torch.tensor([0, 0]), 4)
    assert found[0].tolist() == [[1, 1, 0, 0]] * 4
    assert found[1].tolist() == [[1, 0, 0, 0]] * 4
    assert masks.targets(shape, boxes[:0], torch.zeros(0, dtype=torch.int64), 4).shape == (0, 4, 4)


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((480, 640), (800, 1333), (800, 1067)),
        ((427, 640), (800, 1333), (800, 1199)),
        ((100, 1000), (800, 1333), (133, 1333)),
        ((333, 333), (800, 1333), (800, 800)),
        ((1, 5000), (800, 1333), (1, 1333)),
    ],
)
def test_sizes_are_rounded_as_mmdet_does(size, bounds, expected):
    assert resized(*size, *bounds) == expected


def test_it_trains_on_images_of_several_sizes_one_without_objects():
    made = detector().train()
    images = [torch.rand(3, 60, 90), torch.rand(3, 80, 50)]
    targets = [target(60, 90), target(80, 50, boxes=())]
    losses = made(images, targets)
    assert set(losses) == {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}
    sum(losses.values()).backward()
    missing = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []
    only = made(images[1:], targets[1:])
    assert all(value.isfinite() for value in only.values())
    assert only["loss_mask"] == only["loss_box_reg"] == only["loss_rpn_box_reg"] == 0


def test_detections_lie_in_the_images_that_were_given():
    made = detector().eval()
    made.roi_heads.score_thresh = 0.0
    with torch.no_grad():
        found = made([torch.rand(3, 60, 90), torch.rand(3, 200, 50)])
    for one, (height, width) in zip(found, ((60, 90), (200, 50)), strict=True):
        count = len(one["boxes"])
        assert count == 100
        assert one["masks"].shape == (count, 1, height, width)
        assert one["labels"].min() >= 1
        assert one["labels"].max() <= 5
        assert (one["scores"].diff() <= 0).all()
        assert one["boxes"].min() >= 0
        assert (one["boxes"] <= torch.tensor([width, height, width, height]) + 1e-3).all()
    assert [stage.tokens_out for stage in made.backbone.body.trace] == [
        int(0.5 * 4 * 8 * 1),
        8,
    ] or made.backbone.body.trace


def test_min_size_none_leaves_images_as_they_are():
    made = detector(min_size=None).eval()
    batch, _ = made.transform([torch.rand(3, 60, 90)])
    assert batch.image_sizes == [(60, 90)]
    assert batch.tensors.shape == (1, 3, 64, 96)
    assert (batch.tensors[:, :, 60:] == 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_autocast(training):
    made = detector().train(training)
    with torch.autocast("cpu", torch.bfloat16):
        found = made([torch.rand(3, 64, 96)], [target(64, 96)] if training else None)
    if training:
        assert all(value.isfinite() and value.dtype == torch.float32 for value in found.values())
    else:
        assert found[0]["boxes"].dtype == torch.float32


def test_copies_and_pickles():
    made = detector().eval()
    image = [torch.rand(3, 64, 96)]
    with torch.no_grad():
        expected = made(image)[0]["scores"]
        for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert torch.equal(other(image)[0]["scores"], expected)


def released_names(made):
    """A checkpoint as mmdet writes it, of a detector."""
    from atc.dense.mmdet_names import NAMES

    body = {f"backbone.{name}": value for name, value in made.backbone.body.state_dict().items()}
    ours = {
        "backbone.fpn.inner_blocks.{}.0.": "neck.lateral_convs.{}.conv.",
        "backbone.fpn.layer_blocks.{}.0.": "neck.fpn_convs.{}.conv.",
        "rpn.head.conv.0.0.": "rpn_head.rpn_conv.", "rpn.head.cls_logits.": "rpn_head.rpn_cls.",
        "rpn.head.bbox_pred.": "rpn_head.rpn_reg.", "roi_heads.box_head.fc6.": "roi_head.bbox_head.shared_fcs.0.",
        "roi_heads.box_head.fc7.": "roi_head.bbox_head.shared_fcs.1.",
        "roi_heads.box_predictor.cls_score.": "roi_head.bbox_head.fc_cls.",
        "roi_heads.box_predictor.bbox_pred.": "roi_head.bbox_head.fc_reg.",
        "roi_heads.mask_head.{}.0.": "roi_head.mask_head.convs.{}.conv.",
        "roi_heads.mask_predictor.conv5_mask.": "roi_head.mask_head.upsample.",
        "roi_heads.mask_predictor.mask_fcn_logits.": "roi_head.mask_head.conv_logits.",
    }  # fmt: skip
    assert len(ours) == len(NAMES)
    table = {a.format(n): b.format(n) for a, b in ours.items() for n in range(4)}
    state = {}
    for name, value in made.state_dict().items():
        if name.startswith("backbone.body."):
            continue
        front = next(front for front in table if name.startswith(front))
        value = value.roll(-1, 0) if "cls_score" in name else value[4:] if "box_predictor.bbox" in name else value
        state[table[front] + name.removeprefix(front)] = value[1:] if "mask_fcn_logits" in name else value
    return {**body, **state}


def test_a_whole_detector_of_mmdet_loads(tmp_path):
    made = detector()
    for name, value in made.state_dict().items():
        if value.is_floating_point() and "running_var" not in name:
            value.copy_(torch.randn_like(value))
    predictor = made.roi_heads.box_predictor
    with torch.no_grad():  # what mmdet does not have
        predictor.bbox_pred.weight[:4], predictor.bbox_pred.bias[:4] = 0, 0
        logits = made.roi_heads.mask_predictor.mask_fcn_logits
        logits.weight[:1], logits.bias[:1] = 0, 0
    state = released_names(made)
    state |= {"backbone.cls_token": torch.zeros(1, 1, 48), "backbone.norm.weight": torch.zeros(48)}
    torch.save({"meta": {"CLASSES": ("person",), "epoch": 36}, "state_dict": OrderedDict(state)}, tmp_path / "it.pth")
    other = detector()
    other.load_released(torch.load(tmp_path / "it.pth", weights_only=True))
    for name, value in other.state_dict().items():
        assert torch.equal(value, made.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rpn_head.rpn_cls.bias": None}, "the checkpoint lacks rpn.head.cls_logits.bias"),
        ({"mask_iou.weight": torch.zeros(1)}, "the checkpoint has also mask_iou.weight"),
        ({"backbone.up.bias": None}, "the checkpoint lacks up.bias"),
        ({"roi_head.bbox_head.fc_cls.bias": torch.zeros(9)}, r"cls_score.bias must be \[6\] .* has \[9\]"),
    ],
)
def test_anything_else_is_refused_and_nothing_loaded(change, message):
    made = detector()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    state = {name: torch.ones_like(value) for name, value in released_names(made).items()}
    state = {name: value for name, value in {**state, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message) as caught:
        made.load_released(state)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, r"num_classes=0 must"),
        ({"anchor_sizes": (8, 16)}, "must be 5 numbers, one for each level"),
        ({"min_size": 0}, "min_size=0 must"),
        ({"backbone": torch.nn.Linear(1, 1)}, "a Linear has no out_channels"),
    ],
)
def test_refused_settings(settings, message):
    body = adapter(blocks=(2, 4), model=vit(depth=4))
    with pytest.raises(ValueError, match=message):
        atc.dense.mask_rcnn(**{"backbone": body, "num_classes": 3} | SMALL | settings)


def test_initial_weights_are_mmdets():
    made = detector(head_channels=256)
    heads = made.roi_heads
    assert float(heads.box_predictor.cls_score.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert float(heads.box_predictor.bbox_pred.weight.detach().std()) == pytest.approx(0.001, rel=0.1)
    assert float(made.rpn.head.conv[0][0].weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    wide = heads.box_head.fc6.weight.detach()
    assert float(wide.abs().max()) == pytest.approx((6 / sum(wide.shape)) ** 0.5, rel=0.02)
    biases = [p for name, p in [*made.backbone.fpn.named_parameters(), *heads.named_parameters()] if "bias" in name]
    assert all((bias == 0).all() for bias in biases)
