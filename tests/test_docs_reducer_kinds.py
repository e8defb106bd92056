"""The examples of docs/reducer_kinds.md run."""

import re
from pathlib import Path

import torch

import atc
from tests.vit.wrapped import images, vit

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reducer_kinds.md"


def examples() -> dict:
    """All the code of the page, run in order."""
    names: dict = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    return names


def test_images_keep_different_numbers_of_tokens() -> None:
    model = atc.wrap(vit(), examples()["AboveMean"], 0.9, blocks=(2, 3))
    batch = images(6)
    with torch.no_grad(), atc.check_plans():
        whole = model(batch)
        assert len(set(model.trace[0].count.tolist())) > 1
        for index in range(6):
            torch.testing.assert_close(model(batch[index : index + 1])[0], whole[index])


def test_a_mask_is_learned_with_a_teacher() -> None:
    model = atc.wrap(vit(), examples()["LearnedMask"], 0.5, blocks=(2, 3)).train()
    with atc.check_plans():
        logits = model(images(4))
    found = model.losses(torch.zeros(4).long(), torch.randn(4, 5), torch.randn(4, 16, 24))
    assert set(found) == {"ratio", "distillation"}
    assert set(model.losses()) == {"ratio"}
    (logits.square().mean() + sum(found.values())).backward()
    assert all(reducer.score.weight.grad.abs().sum() > 0 for reducer in model.reducers.values())
    model.eval()(images(4))
    assert model.trace.tokens() == [8, 4]


def test_a_gate() -> None:
    names = examples()
    model = atc.wrap(vit(), "none")
    with torch.no_grad():
        gated = names["with_gates"](model, images(), {2: names["Strongest"]()})
        assert gated.shape == (2, 5)
        assert not torch.equal(gated, names["with_gates"](model, images(), {}))
