"""PiToMe, ToFu, DiffRate and MCTF: the logits, final tokens and sizes of the authors' code, in float64."""

from typing import Any

import numpy as np
import pytest
import torch

import atc
from atc.core.schedule import Stages
from tests import golden

EXPECTED = golden.outputs("successors")
# MCTF's forms that merge inside the attention are not built.
KEYS = sorted({key.rpartition("|")[0] for key in EXPECTED if not key.startswith(("mctf|released", "mctf|precise"))})
P = {  # counts of the published schedules, the CLS token included
    "diffrate|ViT-T-DeiT|0.8": [197, 197, 196, 186, 166, 147, 117, 103, 92, 80, 74, 3],
    "diffrate|ViT-S-DeiT|2.9": [197, 196, 190, 168, 150, 139, 129, 117, 99, 78, 58, 3],
}
MCTF = {
    "after_block_oneway": {"bidirectional": False},
    "similarity_only": {"tau_information": 0.0, "tau_size": 0.0, "attention_weighted": False},
}


def wrapped(key: str) -> atc.ReducedViT:
    """The golden backbone with the counts of one setting: blocks where patches get fewer."""
    counts = [196, *EXPECTED[f"{key}|tokens"].tolist()]
    keep = {block: counts[block] for block in range(1, 13) if counts[block] < counts[block - 1]}
    method, form, *_ = key.split("|")
    arguments: dict[str, Any] = MCTF.get(form, {}) if method == "mctf" else {}
    if key in P:
        arguments = {"p": [count - 1 for count in P[key]]}
    schedule = Stages(blocks=list(keep), keep=list(keep.values()))
    return atc.wrap(golden.vit(), method, schedule=schedule, as_released=True, reducer_args=arguments)


def test_there_are_settings_of_each() -> None:
    assert {key.split("|")[0] for key in KEYS} == {"pitome", "tofu", "diffrate", "mctf"}
    assert len(KEYS) >= 12


@pytest.mark.parametrize("key", KEYS)
def test_as_released(key: str) -> None:
    model = wrapped(key)
    with torch.no_grad():
        logits = model(golden.images()).numpy()
    np.testing.assert_allclose(logits, EXPECTED[f"{key}|logits"], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(model.trace[-1].source.numpy(), EXPECTED[f"{key}|labels"])
    if f"{key}|size" in EXPECTED:
        sizes = EXPECTED[f"{key}|size"]
        np.testing.assert_allclose(model.trace[-1].size.numpy(), sizes[:, -model.trace[-1].size.shape[1] :], rtol=1e-12)
