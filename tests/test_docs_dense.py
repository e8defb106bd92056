"""The page on feature maps and detectors: its Python runs as it stands."""

import re
from pathlib import Path

import timm

PAGE = Path(__file__).parents[1] / "docs" / "dense.md"


def test_the_page_runs(monkeypatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False: create(name, embed_dim=24))
    text = PAGE.read_text(encoding="utf-8")
    text = text.replace("num_classes=80)", "num_classes=80, min_size=64)")  # less to compute
    scope: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        exec(block, scope)
    assert {name: tuple(one.shape) for name, one in scope["maps"].items()} == {
        "0": (2, 24, 16, 24), "1": (2, 24, 8, 12), "2": (2, 24, 4, 6), "3": (2, 24, 2, 3)
    }  # fmt: skip
    assert scope["tokens"] == [12, 6, 3]
    assert scope["channels"] == 24
    assert scope["found"]["masks"].shape[1:] == (1, 48, 64)
    assert all(value.isfinite() for value in scope["losses"].values())
