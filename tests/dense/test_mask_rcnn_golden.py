"""The heads of mmdet 3.3's Mask R-CNN: proposals, detections, masks, losses and gradients, in float64."""

import functools
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torchvision.models.detection.image_list import ImageList

import atc
from atc.dense.boxes import Anchors
from atc.dense.masks import paste
from atc.dense.regions import AlignedPool, level_of
from tests import golden

PART = {k.removeprefix("heads|"): v for k, v in golden.outputs("detection").items() if k.startswith("heads|")}
ORIGINAL, RESIZED, PADDED = (tuple(PART["in.sizes"].reshape(3, 2)[number].tolist()) for number in range(3))


class Given(torch.nn.Module):
    """Returns maps that were made elsewhere."""

    out_channels = 8

    def __init__(self):
        super().__init__()
        self.maps = OrderedDict((str(n), torch.from_numpy(PART[f"in.level{n}"]).double()) for n in range(4))

    def forward(self, images: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        return self.maps


def detector() -> atc.dense.MaskRCNN:
    made = atc.dense.mask_rcnn(Given(), 6, fpn_channels=16, head_channels=32, mask_channels=16)
    made.load_released({k[2:]: torch.from_numpy(v) for k, v in PART.items() if k.startswith("w.")})
    return made.double().eval()


IMAGES = ImageList(torch.zeros(1, 3, *PADDED, dtype=torch.float64), [RESIZED])


@functools.cache
def found():
    """Maps, proposals and detections in evaluation."""
    made = detector()
    scored, filtered = [], made.rpn.filter_proposals
    made.rpn.filter_proposals = lambda *args: scored.append(filtered(*args)) or scored[0]
    with torch.no_grad():
        maps = made.backbone(IMAGES.tensors)
        proposals, _ = made.rpn(IMAGES, maps)
        detections, _ = made.roi_heads(maps, proposals, [RESIZED])
        resized = {key: value.clone() for key, value in detections[0].items()}
        (placed,) = made.transform.postprocess(detections, [RESIZED], [ORIGINAL])
    return maps, proposals[0], resized, placed, scored[0][1][0]


def test_feature_pyramid():
    maps = found()[0]
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    for number, one in enumerate(maps.values()):
        assert float(one.abs().mean()) == pytest.approx(float(PART[f"fpn.level{number}.absmean"]), rel=1e-9)
    np.testing.assert_allclose(maps["3"].numpy(), PART["fpn.level3"], atol=1e-8)
    np.testing.assert_allclose(maps["pool"].numpy(), PART["fpn.level4"], atol=1e-8)


def test_proposals():
    boxes = found()[1].numpy()
    assert len(boxes) == len(PART["proposals.boxes"])
    np.testing.assert_allclose(boxes, PART["proposals.boxes"], atol=1e-4)
    np.testing.assert_allclose(found()[4].numpy(), PART["proposals.scores"], atol=1e-8)


def test_every_detection():
    _, _, resized, placed, _ = found()
    assert len(resized["boxes"]) == 100
    np.testing.assert_array_equal(resized["labels"].numpy() - 1, PART["det.labels"])
    np.testing.assert_allclose(resized["scores"].numpy(), PART["det.scores"], atol=1e-8)
    np.testing.assert_allclose(resized["boxes"].numpy(), PART["det.boxes_resized"], atol=2e-5)
    np.testing.assert_allclose(placed["boxes"].numpy(), PART["det.boxes"], atol=2e-5)
    logits = resized["masks"][: len(PART["det.mask_logits"]), 0].logit()
    np.testing.assert_allclose(logits.numpy(), PART["det.mask_logits"], atol=1e-4)


def test_masks_in_the_image():
    masks = found()[3]["masks"]
    assert masks.shape == (100, 1, *ORIGINAL)
    binary = masks[:, 0] >= 0.5
    thick = (torch.from_numpy(PART["det.boxes"])[:, 2:] - torch.from_numpy(PART["det.boxes"])[:, :2]).amin(dim=1) > 0.1
    areas = torch.from_numpy(PART["det.mask_area"])
    assert thick.sum() > 50
    assert ((binary.flatten(1).sum(dim=1) - areas).abs()[thick] <= 1 + 0.001 * areas[thick]).all()
    for number, packed in enumerate(PART["det.masks_first4_packbits"]):
        theirs = torch.from_numpy(np.unpackbits(packed)[: binary[0].numel()].reshape(ORIGINAL)).bool()
        union = (binary[number] | theirs).sum()
        assert (binary[number] & theirs).sum() >= 0.999 * union


def test_pasting():
    size = tuple(PART["paste.size"].tolist())
    pasted = paste(torch.from_numpy(PART["paste.prob"]), torch.from_numpy(PART["paste.boxes"]), size)
    np.testing.assert_allclose(pasted.numpy(), PART["paste.soft"], atol=1e-3)  # kept in float16
    binary = np.unpackbits(PART["paste.binary_packbits"])[: pasted.numel()].reshape(pasted.shape)
    assert ((pasted >= 0.5).numpy() != binary.astype(bool)).sum() <= 1


def test_anchors_of_odd_sizes():
    anchors = Anchors((32, 64, 128, 256, 512), (4, 8, 16, 32, 64))
    np.testing.assert_allclose(torch.stack(anchors.cell_anchors).numpy(), PART["anchors.base"], rtol=1e-6)
    maps = [torch.zeros(1, 1, *size, dtype=torch.float64) for size in PART["anchors.featmaps"].tolist()]
    (made,) = anchors(ImageList(torch.zeros(1), [(800, 1333)]), maps)
    levels = made.split(PART["anchors.count"].tolist())
    np.testing.assert_allclose(levels[3].numpy(), PART["anchors.level3"], atol=1e-3, rtol=1e-6)
    np.testing.assert_allclose(levels[4].numpy(), PART["anchors.level4"], atol=1e-3, rtol=1e-6)
    sums = torch.stack([level.sum(dim=0) for level in levels]).numpy()
    np.testing.assert_allclose(sums, PART["anchors.sum"], rtol=1e-6)


def test_aligned_pooling():
    maps = {str(n): torch.from_numpy(PART["roi.feat"]) for n in range(4)}
    boxes = torch.from_numpy(PART["roi.boxes"])[:, 1:]
    assert (level_of(boxes) == 0).all()
    np.testing.assert_allclose(AlignedPool(7)(maps, [boxes]).numpy(), PART["roi.align7_scale.25"], atol=1e-8)


def test_levels_of_boxes():
    levels = level_of(torch.from_numpy(PART["levelmap.boxes"])[:, 1:])
    np.testing.assert_array_equal(levels.numpy(), PART["levelmap.level"])


def test_losses_and_their_gradient():
    made = detector().train()
    for sampler in (made.rpn.fg_bg_sampler, made.roi_heads.fg_bg_sampler):
        sampler.batch_size_per_image, sampler.positive_fraction = 10**7, 0.5
    body = made.backbone.body
    body.maps = OrderedDict((key, one.clone().requires_grad_()) for key, one in body.maps.items())
    shape = PART["gt.masks_shape"].tolist()
    masks = np.unpackbits(PART["gt.masks_packbits"])[: int(np.prod(shape))].reshape(shape)
    target = {
        "boxes": torch.from_numpy(PART["gt.boxes"]),
        "labels": torch.from_numpy(PART["gt.labels"]) + 1,
        "masks": torch.from_numpy(masks),
    }
    maps = made.backbone(IMAGES.tensors)
    proposals, losses = made.rpn(IMAGES, maps, [target])
    assert len(proposals[0]) == 1000
    np.testing.assert_allclose(proposals[0].numpy(), PART["train.proposals"], atol=1e-4)
    seen, select = {}, made.roi_heads.samples
    made.roi_heads.samples = lambda *args: seen.setdefault("samples", select(*args))
    made.roi_heads.box_predictor.register_forward_hook(lambda *args: seen.update(logits=args[-1][0]))
    _, more = made.roi_heads(maps, [torch.from_numpy(PART["train.proposals"])], [RESIZED], [target])
    losses |= more
    right = (seen["logits"].argmax(dim=1) == seen["samples"][0].labels).double().mean()
    assert 100 * float(right) == pytest.approx(float(PART["loss.acc"]), rel=1e-5)
    names = {
        "loss_objectness": "loss_rpn_cls", "loss_rpn_box_reg": "loss_rpn_bbox", "loss_classifier": "loss_cls",
        "loss_box_reg": "loss_bbox", "loss_mask": "loss_mask",
    }  # fmt: skip
    for ours, theirs in names.items():
        assert losses[ours].item() == pytest.approx(float(PART[f"loss.{theirs}"]), rel=1e-6), ours
    sum(losses.values()).backward()
    for number, one in enumerate(body.maps.values()):
        mean = float(PART[f"grad.level{number}.absmean"])
        assert float(one.grad.abs().mean()) == pytest.approx(mean, rel=1e-5)
    np.testing.assert_allclose(body.maps["3"].grad.numpy(), PART["grad.level3"], atol=1e-7)


def test_background_moves_to_the_front():
    made = detector()
    predictor = made.roi_heads.box_predictor
    theirs = torch.from_numpy(PART["w.roi_head.bbox_head.fc_cls.weight"]).double()
    assert torch.equal(predictor.cls_score.weight, torch.cat([theirs[-1:], theirs[:-1]]))
    assert (predictor.bbox_pred.weight[:4] == 0).all()
