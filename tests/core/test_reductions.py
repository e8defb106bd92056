"""The reductions of a forward: source maps and traces, computed when they are read."""

import torch

from atc.core import Assign, Mix, Plan, Select
from atc.core.reductions import Reduction, Reductions


def reductions(*plans: Plan) -> Reductions:
    """Reductions of 4 tokens, one after the other, all sizes 1."""
    made = Reductions()
    tokens = 4
    for number, plan in enumerate(plans, start=1):
        made.made.append(Reduction(3 * number + 1, tokens, plan, torch.ones(1, plan.num_out)))
        tokens = plan.num_out
    return made


def test_source_maps_are_composed() -> None:
    one, other = Select(torch.tensor([[3, 1, 0]]), num_in=4), Assign(torch.tensor([[0, 1, 0]]), 2)
    made = reductions(one, other)
    first, second = made.trace()
    assert first.source.tolist() == [[2, 1, -1, 0]]
    assert second.source.tolist() == [[0, 1, -1, 0]]
    assert made.source(1) is first.source
    assert made.source(2) is second.source
    assert [(stage.block, stage.tokens_in, stage.tokens_out) for stage in made.trace()] == [(4, 4, 3), (7, 3, 2)]
    assert made.trace() is made.trace()


def test_where_patches_only_pass_a_block_by_nothing_is_composed() -> None:
    made = Reductions(passing=True)
    for number, kept in enumerate(([3, 1, 0], [2, 3]), start=1):
        plan = Select(torch.tensor([kept]), num_in=4)
        made.made.append(Reduction(number, 4, plan, torch.ones(1, plan.num_out)))
    assert [stage.source.tolist() for stage in made.trace()] == [[[2, 1, -1, 0]], [[-1, -1, 0, 1]]]
    assert [stage.source.tolist() for stage in made.again().trace()] == [[[2, 1, -1, 0]], [[-1, -1, 0, 1]]]


def test_labels_are_computed_when_they_are_read() -> None:
    plan = Select(torch.tensor([[3, 1, 0]]), num_in=4)
    made = reductions(plan)
    plan.indices.copy_(torch.tensor([[0, 1, 2]]))  # as a replayed graph does
    assert made.trace()[0].labels.tolist() == [[0, 1, 2, -1]]
    again = made.again()
    assert again.trace() is not made.trace()
    assert again.trace()[0].size is made.trace()[0].size


def test_what_was_asked_for_in_between_is_not_computed_twice() -> None:
    made = reductions(Select(torch.tensor([[3, 1, 0]]), num_in=4))
    before = made.source(1)
    made.made.append(Reduction(7, 3, Assign(torch.tensor([[0, 1, 0]]), 2), torch.ones(1, 2)))
    assert made.trace()[0].source is before
    assert len(made.trace()) == 2


def test_a_soft_plan_leaves_its_shares() -> None:
    (stage,) = reductions(Mix(torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]]))).trace()
    assert stage.shares is not None
    assert stage.shares.tolist() == [[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]]
    assert stage.labels.tolist() == [[0, 0, 1, 1]]


def test_nothing_reduced() -> None:
    assert Reductions().trace() == ()
