"""The examples of docs/reducer_kinds.md run."""

import re
from pathlib import Path

import pytest
import torch

import atc
from tests.reducers import test_contract as contract
from tests.reducers.kinds import KINDS
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


def test_tokens_pass_a_block_by() -> None:
    model = atc.wrap(vit(), examples()["PassingBy"], 0.9, blocks=(3,))
    with torch.no_grad(), atc.check_plans():
        assert model.forward_features(images(6)).shape[1] == 17
    assert [stage.block for stage in model.trace] == [3, 4]
    assert 0 < model.trace[1].count.max() < 16


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


@pytest.mark.parametrize("kind", ["Transport", "AboveMean", "LearnedMask"])
def test_each_keeps_the_contract(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "documented", examples()[kind])
    contract.test_exactly_keep("documented", keep=contract.KEEP)
    contract.test_outputs_are_covered_and_sizes_add_up("documented")
    contract.test_no_image_depends_on_its_batch("documented")
    contract.test_expand_gives_each_token_its_output("documented")
    contract.test_gradients_reach_tokens_and_every_parameter("documented")
    contract.test_ties_and_zeros_give_no_nan("documented", kind="zero")
    contract.test_other_dtypes_and_autocast("documented", dtype=torch.bfloat16)


def test_shares_are_unmerged_and_drawn() -> None:
    model = atc.wrap(vit(), examples()["Transport"], 0.5, blocks=(2, 3)).eval()
    with torch.no_grad(), atc.check_plans():
        tokens = model.forward_features(images())
    assert model.trace.tokens() == [8, 4]
    assert model.trace.unmerge(tokens[:, model.prefix :]).shape == (2, 16, tokens.shape[-1])
    assert atc.draw(torch.rand(3, 32, 32), model.trace).mode == "RGB"


def test_a_gate() -> None:
    names = examples()
    model = atc.wrap(vit(), "none")
    with torch.no_grad():
        gated = names["with_gates"](model, images(), {2: names["Strongest"]()})
        assert gated.shape == (2, 5)
        assert not torch.equal(gated, names["with_gates"](model, images(), {}))
