"""docs/reducer.md: the fields of the view have the shapes that it says, and it names what checks a plan."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import atc
from atc.core import Assign, Plan, Reducer, TokenView
from atc.core.reducer import ON_REQUEST
from tests.vit.wrapped import images, vit

PAGE = (Path(__file__).parents[1] / "docs" / "reducer.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (`\[.*?\]`)? ?\|", PAGE, re.M)
SHAPES = {name: shape.strip("`[]") for names, shape in ROWS for name in re.findall(r"\w+", names)}


class Everything(Reducer):
    """Needs all fields, and keeps the view."""

    needs = frozenset(ON_REQUEST)
    seen: dict[int, Any] = {}

    def forward(self, view: TokenView, keep: int) -> Plan:
        self.seen[self.stage.block] = view
        return Assign((torch.arange(view.x.shape[1]) % keep).expand(len(view.x), -1), keep)


def test_it_lists_every_field() -> None:
    assert set(SHAPES) == set(TokenView._fields)
    after = PAGE[PAGE.index("only where the class says so") :]
    assert [name for name in TokenView._fields if f"| `{name}`" in after or f", `{name}` |" in after] == list(
        ON_REQUEST
    )


def test_the_shapes_are_those() -> None:
    host = vit()
    model = atc.wrap(host, Everything, 0.5, blocks=(2, 3))
    with torch.no_grad():
        model(images(2))
    heads = host.blocks[0].attn.num_heads
    sides = {"B": 2, "N": 8, "N0": 16, "C": host.embed_dim, "H": heads, "D": host.embed_dim // heads, "P+N": 9}
    view = Everything.seen[3]
    for name, shape in SHAPES.items():
        if shape and name != "valid":
            assert list(getattr(view, name).shape) == [sides[side] for side in shape.split(", ")], name
    assert (view.prefix, view.valid, view.plan.num_out) == (1, None, 8)


@pytest.mark.parametrize(
    "name", ["atc.check_plans()", "ATC_CHECK_PLANS=1", "int64 `[B, N]`", "needs_training", "api.md"]
)
def test_it_names(name: str) -> None:
    assert name in PAGE
