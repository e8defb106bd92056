"""The same logits and partitions as the authors' code, in float64."""

import numpy as np
import pytest
import torch

import atc
from tests import golden

STAGES = [k for k in golden.outputs("stages_merging") if k.endswith("logits")]
EVERY_BLOCK = [k for k in golden.outputs("every_block") if k.endswith("logits")]
NAMES = {
    "topk": ("topk", {}),
    "evit": ("evit", {}),
    "tome": ("tome", {}),
    "kmedoids": ("kmedoids", {}),
    "kmedoids_equal": ("kmedoids", {"equal_weight": True}),
    "dpcknn_equal": ("dpc_knn", {"equal_weight": True}),
}


def check(model: torch.nn.Module, expected: np.ndarray) -> None:
    with torch.no_grad():
        logits = model(golden.images()).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def check_partitions(model: atc.ReducedViT, expected: dict[str, np.ndarray], key: str) -> None:
    """Every stage groups the source patches alike; `key` has a place for the stage number."""
    maps = [expected[key.format(s)] for s in range(1, 4) if key.format(s) in expected]
    for stage, trace in enumerate(model.trace[: len(maps)], start=1):
        assert golden.same_partition(trace.source, golden.composed(maps[:stage]))


@pytest.mark.parametrize("pool", ["vit", "mae"])
def test_dense(pool):
    check(atc.wrap(golden.vit(pool), reducer="none"), golden.outputs("every_block")[f"{pool}|none"])


@pytest.mark.parametrize("key", STAGES)
def test_merging_at_three_stages(key):
    expected = golden.outputs("stages_merging")
    name, rate, prop, _ = key.split("|")
    reducer, args = NAMES.get(name, (name, {}))
    # The authors' one switch turns off both uses of size, and only for ATC.
    size = {"proportional_attention": prop == "prop=True"} if name.startswith("atc") else {}
    size |= {"size_weighted": prop == "prop=True"} if name.startswith("atc") else {}
    model = atc.wrap(golden.vit(), reducer, float(rate[2:]), as_released=True, reducer_args=args, **size)
    check(model, expected[key])
    check_partitions(model, expected, key.replace("logits", "stage{}|assign"))


@pytest.mark.parametrize("name", NAMES)
def test_all_methods_at_half(name):
    expected = golden.outputs("stages_all_methods")
    reducer, args = NAMES[name]
    np.random.seed(0)  # noqa: NPY002 (kmedoids_equal draws its start from NumPy's global generator)
    model = atc.wrap(golden.vit(), reducer, 0.5, as_released=True, reducer_args=args)
    check(model, expected[f"{name}|r=0.5|logits"])
    if f"{name}|r=0.5|stage1|Assignment_Maps" in expected:
        check_partitions(model, expected, f"{name}|r=0.5|stage{{}}|Assignment_Maps")
    else:
        for stage, trace in enumerate(model.trace, start=1):
            kept = expected[f"{name}|r=0.5|stage{stage}|Kept_Tokens"]
            for labels, tokens in zip(trace.labels, kept, strict=True):
                chosen = [int(t) for t in tokens if t >= 0]  # -1 stands for EViT's fused token
                assert labels[chosen].tolist() == list(range(len(chosen)))


@pytest.mark.parametrize("key", EVERY_BLOCK)
def test_every_block(key):
    expected = golden.outputs("every_block")
    pool, reducer, prop, t, schedule, _ = key.split("|")
    model = atc.wrap(
        golden.vit(pool), reducer, schedule=schedule, t=int(t[2:]), as_released=True,
        proportional_attention=prop == "prop=True",
    )  # fmt: skip
    check(model, expected[key])
    sizes = np.sort(expected[key.replace("logits", "size")][:, 1:], axis=1)  # entry 0 is CLS
    np.testing.assert_array_equal(model.trace[-1].size.sort(dim=1).values.numpy(), sizes)


def test_float32_gives_the_same_partitions():
    for reducer in ("atc_single", "atc_complete", "atc_average"):
        model = atc.wrap(golden.vit(dtype=torch.float32), reducer, 0.25)
        with torch.no_grad():
            model(golden.images(torch.float32))
        expected = golden.outputs("stages_merging")
        check_partitions(model, expected, f"{reducer}|r=0.25|prop=True|stage{{}}|assign")
