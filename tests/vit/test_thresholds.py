"""Thresholds found on images: exactly as many tokens as wanted, where images allow."""

import pytest
import torch

import atc
from atc.core import Stages
from atc.vit.thresholds import calibrate, threshold_for
from tests.reducers.test_agglomerative_dynamic import pictures
from tests.vit.wrapped import vit


def model(**settings):
    return atc.wrap(vit(patch_size=8).double(), "atc_average_dynamic", threshold=[0.0, 0.0], blocks=(2, 3), **settings)


def batches():
    yield pictures(8)[:5]
    yield pictures(8)[5:]


def test_the_mean_is_that_of_the_keep_rate_stage_by_stage():
    made = model()
    targets = [count.keep for count in Stages(0.5, (2, 3)).resolve(64, 4)]
    found = calibrate(made, batches, targets)
    assert [stage.block for stage in found] == [2, 3]
    assert [stage.mean for stage in found] == targets == [32, 16]
    with torch.no_grad():
        counts = [made(images) for images in batches()] and [stage.count for stage in made.trace]
    assert [found[at].counts[5:].tolist() for at in (0, 1)] == [count.tolist() for count in counts]
    again = atc.wrap(atc.unwrap(made), "atc_average_dynamic", threshold=[s.threshold for s in found], blocks=(2, 3))
    with torch.no_grad():
        again(pictures(8))
    assert again.trace.mean_tokens() == targets


def test_one_threshold_keeps_as_many_together():
    found = calibrate(model(), batches, [32, 16], one=True)
    assert found[0].threshold == found[1].threshold > 0
    assert sum(stage.mean for stage in found) == pytest.approx(48, abs=0.5)


def test_bounds_are_kept_and_made_up_for_by_others():
    found = calibrate(model(reducer_args={"keep_min": [31, 2], "keep_max": [40, 20]}), batches, [33, 10])
    assert found[0].counts.min() >= 31
    assert found[1].counts.max() <= 20
    assert [stage.mean for stage in found] == pytest.approx([33, 10], abs=0.5)


def test_what_no_threshold_reaches():
    heights, real = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([3, 3])
    assert threshold_for(heights, real, 2.2)[1].tolist() == [3, 3]  # ties are merged together, or not at all
    assert threshold_for(heights, real, 1.4)[1].tolist() == [1, 1]
    assert threshold_for(heights, real, 3.0)[0] < 0.5
    assert threshold_for(heights, real, 0.0, least=2)[1].tolist() == [2, 2]
    assert threshold_for(heights[:, :0], torch.tensor([1, 1]), 1.0) == (0.0, pytest.approx(torch.tensor([1, 1])))


@pytest.mark.parametrize(
    ("made", "given", "targets", "said"),
    [
        (model, batches, [3], "must be one number for each of 2 stages"),
        (model, lambda: iter(()), [3, 2], "on images, and there is none"),
        (lambda: atc.wrap(vit(), "tome", 0.5, (2, 3)), batches, [3, 2], "ToMe has no threshold"),
    ],
)
def test_one_line_for_what_cannot_be(made, given, targets, said):
    with pytest.raises(ValueError, match=said):
        calibrate(made(), given, targets)
