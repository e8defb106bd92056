"""DHTM as a slow implementation of its specification gives it, which is ours: no authors' code is public."""

import numpy as np
import pytest
import torch

import atc
from tests import golden

EXPECTED = golden.outputs("dhtm_ours")
NEIGHBOURHOOD = {"r1": 1, "4": "edge", "full": None}
KEYS = sorted({key.rpartition("|")[0] for key in EXPECTED})


@pytest.mark.parametrize("key", KEYS)
def test_logits_and_tokens(key: str) -> None:
    name, update, t = key.split("|")
    arguments = {"neighbourhood": NEIGHBOURHOOD[name], "update": update}
    model = atc.wrap(golden.vit(), "dhtm", schedule="constant", t=int(t.removeprefix("t=")), reducer_args=arguments)
    with torch.no_grad():
        logits = model(golden.images()).numpy()
    np.testing.assert_allclose(logits, EXPECTED[f"{key}|logits"], rtol=1e-9, atol=1e-9)
    assert golden.same_partition(model.trace[-1].source, EXPECTED[f"{key}|source"])
    assert model.trace[-1].size.shape[1] == 100


def test_there_are_all_settings() -> None:
    assert KEYS == ["4|sequential|t=8", "full|sequential|t=8", "r1|matching|t=8", "r1|sequential|t=8"]
