"""A batch without images has an empty result, as with timm's own models."""

import pytest
import timm
import torch

import atc
from tests.reducers.amounts import BY_THRESHOLD
from tests.reducers.test_contract import NAMES

SCHEDULES = ({"keep_rate": 0.5}, {"schedule": "constant", "t": 1})
ONE_BLOCK = ({"keep_rate": 0.5, "blocks": (4,)},)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_no_images_no_logits(name, training):
    not_at_block_1 = SCHEDULES[:1]
    by_threshold = dict.fromkeys(BY_THRESHOLD, ({"threshold": 0.3},))
    schedules = by_threshold | {"kmedoids": not_at_block_1, "mctf": not_at_block_1, "tome_2d": ONE_BLOCK}
    schedules = schedules.get(name, SCHEDULES)
    for schedule in schedules:
        vit = timm.create_model("vit_tiny_patch16_224", img_size=64, embed_dim=24, num_classes=5)
        model = atc.wrap(vit, name, **schedule).train(training)
        with torch.set_grad_enabled(training):
            found = model(torch.zeros(0, 3, 64, 64))
        assert found.shape == vit(torch.zeros(0, 3, 64, 64)).shape == (0, 5)
        assert [stage.labels.shape[0] for stage in model.trace] == [0] * len(model.trace)
        if training:
            (found.sum() + sum(model.losses().values())).backward()
