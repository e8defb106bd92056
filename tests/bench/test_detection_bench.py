"""The benchmark of detectors, as typed, on small images; its counts against shapes of layers."""

import json

import pytest
import torch
from torch import nn

from atc.bench import __main__ as bench
from atc.bench import detection, inside_detector
from atc.cost.flops import gflops_per_image

TOKENS = 24  # of 64 x 96 pixels


@pytest.fixture(scope="module")
def detectors():
    return {name: detection.detector("deit_tiny", *name) for name in (detection.DENSE, ("atc_average", 0.5))}


def test_a_row_for_each_method_beside_the_dense_detector(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detection, "CANDIDATES", 5)  # of the mask head's work, the most of all
    out = tmp_path / "detection.json"
    asked = ["--size", "33", "64", "--methods", "atc_average", "--keep-rates", "0.25", "--runs", "1"]
    bench.main(["detection", *asked, "--out", str(out)])
    result = json.loads(out.read_text())
    settings, rows = result["settings"], result["rows"]
    assert {"machine", "versions", "commit", "load"} <= set(result["environment"])
    assert (settings["size"], settings["padded"]) == ([33, 64], [64, 64])
    assert "RoIAlign" in settings["gflops"]
    assert [(row["method"], row["keep_rate"]) for row in rows] == [("none", 1.0), ("atc_average", 0.25)]
    assert [row["tokens_per_block"] for row in rows] == [[16] * 12, [16] * 4 + [4] * 3 + [1] * 5]
    for row in rows:
        assert row["images_per_second"] * row["seconds"] == pytest.approx(1, rel=0.01)
        assert row["gflops"] == pytest.approx(sum(row["gflops_of_parts"].values()), abs=0.01)
        assert 0 < sum(row["time_of_parts"].values()) < 1
        assert 1 <= row["objects"] <= 100
        assert row["peak_memory_mb"] is None or row["peak_memory_mb"] > 0
        assert list(row["gflops_of_parts"]) == list(settings["parameters"]) == list(inside_detector.PARTS)
    assert rows[0]["speed_up"] == 1
    assert rows[0]["clustering_share"] == 0 < rows[1]["clustering_share"] < 1
    assert rows[1]["gflops_of_parts"]["vit"] < rows[0]["gflops_of_parts"]["vit"]
    assert rows[1]["gflops_of_parts"]["adapter"] == rows[0]["gflops_of_parts"]["adapter"]
    said = capsys.readouterr().out
    assert "Mask R-CNN on deit_tiny, 64x64 pixels, batch 1, fp32, CPU, 1 threads" in said
    assert "mask head" in said


def test_every_parameter_belongs_to_one_part(detectors):
    for one in detectors.values():
        assert sum(inside_detector.parameters(one).values()) == sum(p.numel() for p in one.parameters())
    assert inside_detector.parameters(detectors[detection.DENSE])["vit"] == 12 * 444_864 + 147_648 + 197 * 192


@torch.inference_mode()
def test_operations_of_parts(detectors):
    """They add up to the whole's; those of the ViT and of deformable attention's samples follow from shapes."""
    images = torch.rand(1, 3, 64, 96)
    for name, one in detectors.items():
        found = inside_detector.gflops(one, lambda one=one: one(images), 1)
        sampling = found.pop("sampling")
        assert sum(found.values()) == pytest.approx(gflops_per_image(one, images))
        # 6 heads, 32 channels each, 4 points: injectors on 3 levels for the patches, extractors on 1 for the pyramid
        queries = 4 * 3 * TOKENS + 6 * (4 * TOKENS + TOKENS + TOKENS // 4)
        assert sampling == pytest.approx(8 * 192 * 4 * queries / 1e9)
        reduced = {"none": [TOKENS] * 12, "atc_average": [TOKENS] * 4 + [12] * 3 + [6] * 3 + [3] * 2}[name[0]]
        behind = [*reduced[1:], reduced[-1]]  # the MLP comes behind the reduction
        attention = sum(2 * n * (4 * 192 * 192) + 2 * 2 * n * n * 192 for n in reduced)
        mlp = sum(2 * n * (8 * 192 * 192) for n in behind)
        assert found["vit"] == pytest.approx((attention + mlp + 2 * TOKENS * 768 * 192) / 1e9)
        distances = sum(2 * n * n * 64 for n in (24, 12, 6)) if name[0] != "none" else 0
        assert found["reducers"] == pytest.approx(distances / 1e9)


def test_a_meter_is_read_around_each_module():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    readings = iter(range(100))
    parts = {"linear": [model[0], model[2]], "relu": [model[1]]}
    found = inside_detector.inside(parts, lambda: model(torch.zeros(1, 2)), lambda: float(next(readings)))
    assert found == {"linear": 2.0, "relu": 1.0}
    assert not model[0]._forward_hooks


@torch.inference_mode()
def test_the_mask_head_has_work(detectors):
    one = detectors[detection.DENSE]
    images = torch.rand(2, 3, 64, 96)
    found = []
    detection.expect_objects(one, lambda: one(images), 20)
    one.roi_heads.nms_thresh, kept = 2.0, one.roi_heads.nms_thresh  # all that score high enough stay
    try:
        found = [len(image["boxes"]) for image in one(images)]
    finally:
        one.roi_heads.nms_thresh = kept
    assert sum(found) in (19, 20)
