"""Released checkpoints of every method of arXiv 2308.04657 through the harness, as the authors' script writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import atc
from atc import run
from atc.config import build
from atc.config import released as report
from atc.weights import released
from tests import golden
from tests.config.test_released import learned, write

# The methods by their names in those of models, and what else their settings say.
METHODS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "topk": ("topk", {}, {}),
    "evit": ("evit", {}, {}),
    "tome": ("tome", {}, {}),
    "kmedoids": ("kmedoids", {"cluster_iters": 3, "equal_weight": False}, {"reducer.iterations": 3}),
    "dpcknn": ("dpc_knn", {"k_neighbors": 5, "equal_weight": False}, {"reducer.k": 5}),
    "ats": ("ats", {}, {}),
    "dyvit": ("dynamic_vit", {"ratio_weight": 2.0, "mse_token": True}, {"reducer.ratio_weight": 2.0}),
    "sit": ("sit", {}, {}),
    "sinkhorn": ("sinkhorn", {"cluster_iters": 4, "sinkhorn_eps": 0.5},
                 {"reducer.iterations": 4, "reducer.eps": 0.5}),
    "patchmerger": ("patch_merger", {}, {}),
    "heuristic": ("radial_l2", {"heuristic_pattern": "l2", "not_contiguous": True}, {}),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_settings(tmp_path: Path, method: str) -> None:
    reducer, args, values = METHODS[method]
    state = golden.vit(dtype=torch.float32).state_dict()
    args = {"model": f"{method}_small_patch16_224", "reduction_ratio": [0.5], "scoring_method": "K"} | args
    found = report.settings(released.arguments(write(tmp_path / "w.pth", state, None, **args)))
    assert found.options["reducer"] == reducer
    assert found.options["backbone"] == "deit_small"
    expected = {"as_released": True, "blocks": [4, 7, 10], "keep_rate": 0.5} | values
    assert expected.items() <= found.values.items()
    arguments = {key.removeprefix("reducer."): value for key, value in found.values.items() if key.startswith("reduc")}
    build.bind(build.find_reducer(reducer), **arguments)


@pytest.mark.parametrize("as_released", [True, False])
@pytest.mark.parametrize("method", ["dpcknn", "dyvit", "sit", "sinkhorn", "patchmerger"])
def test_learned_layers_give_the_authors_logits(tmp_path: Path, method: str, as_released: bool) -> None:
    state = golden.vit(dtype=torch.float32).state_dict() | learned(method)
    path = write(tmp_path / "w.pth", state, state, model=f"{method}_tiny_patch16_224", reduction_ratio=[0.5])
    model = atc.wrap(golden.vit(dtype=torch.float32), METHODS[method][0], 0.5, as_released=as_released)
    notices = run.load(model, path)
    assert not any("untrained" in notice for notice in notices)
    with torch.no_grad():
        logits = model.double()(golden.images()).numpy()
    if as_released or method != "dpcknn":  # whose noise decides
        expected = golden.outputs("stages_all_methods")[f"{method}|r=0.5|logits"]
        np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["sit", "sinkhorn", "patchmerger"])
def test_layers_of_another_keep_rate_are_refused(tmp_path: Path, method: str) -> None:
    state = golden.vit(dtype=torch.float32).state_dict() | learned(method)
    path = write(tmp_path / "w.pth", state, None, model=f"{method}_tiny_patch16_224", reduction_ratio=[0.5])
    model = atc.wrap(golden.vit(dtype=torch.float32), METHODS[method][0], 0.7, as_released=True)
    with pytest.raises(ValueError, match=r"does not fit the model: other shapes for reducers\.4\."):
        run.load(model, path)
