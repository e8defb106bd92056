"""Single decisions on a grid that cells do not fill, as tomesd and the authors' code make them."""

import pytest
import torch

from atc.core import Stage, TokenView
from reducers.agglomerative import Agglomerative
from reducers.tome_2d import ToMe2D
from tests import golden

GOLDEN = golden.outputs("diffusion_rates")
CASES = [key.removesuffix("|labels") for key in GOLDEN if key.startswith("odd|") and key.endswith("|labels")]


@pytest.mark.parametrize("case", CASES)
def test_as_the_authors_code(case):
    method, *settings = case.split("|")[1:]
    given = dict(setting.split("=") for setting in settings)
    grid = tuple(int(side) for side in GOLDEN["odd|grid"])
    x, metric = (torch.from_numpy(GOLDEN[f"odd|{name}"]) for name in ("x", "metric"))
    tokens = x.shape[1]
    cells = (grid[0] // 2) * (grid[1] // 2)
    keep = max(tokens - int(given["r"]), cells)
    stage, ones = Stage(1, 6, keep), x.new_ones(x.shape[:2])
    if method == "tome":
        generator = torch.Generator().manual_seed(int(given["seed"])) if given["rand"] == "True" else None
        reducer = ToMe2D(stage, generator=generator)
    else:
        reducer = Agglomerative(stage, linkage=method.removeprefix("atc_"))
    plan = reducer(TokenView(x, metric, ones, torch.arange(tokens).expand(2, -1), grid, prefix=0), keep)
    plan.check_contents()
    assert golden.same_partition(plan.labels, GOLDEN[f"{case}|labels"])
    unmerged = torch.from_numpy(GOLDEN[f"{case}|unmerged"])
    assert (plan.expand(plan.reduce(x, ones)) - unmerged).abs().max() < 1e-9
