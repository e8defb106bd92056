"""A plan made, checked and applied to tokens and sizes."""

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from atc.core import Assign, Mix, Plan, Reducer, Stage, StageCount, TokenView
from atc.core.applying import reduce_tokens


class Halves(Reducer):
    """Merges the first and the last half of four tokens, as a soft method or a hard one."""

    def __init__(self, soft: bool = False, num_out: int = 2) -> None:
        super().__init__(Stage(block=4, dim=1, keep=2))
        self.soft, self.num_out = soft, num_out

    @override
    def forward(self, view: TokenView, keep: int) -> Plan:
        if self.soft:
            return Mix(torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]]))
        return Assign(torch.tensor([[0, 0, 1, 1]]), self.num_out)


def view() -> TokenView:
    tokens, source = torch.tensor([[[1.0], [4.0], [3.0], [5.0]]]), torch.tensor([[3, 2, -1, 1, 0, 0]])
    return TokenView(tokens, tokens, torch.tensor([[2.0, 1.0, 1.0, 1.0]]), source, (2, 3), prefix=0)


def weight() -> Tensor:
    return view().size


def test_tokens_and_sizes() -> None:
    tokens, reduction = reduce_tokens(Halves(), view().x, view(), StageCount(4, 4, 2, 2), 2, weight())
    assert tokens.tolist() == [[[2.0], [4.0]]]  # (2 * 1 + 4) / 3, (3 + 5) / 2
    assert (reduction.block, reduction.tokens_in, reduction.plan.num_out) == (4, 4, 2)
    assert reduction.size.tolist() == [[3.0, 2.0]]


def test_a_plan_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="Halves at block 4: 2 of 4 tokens have to come out, got num_out=3"):
        reduce_tokens(Halves(num_out=3), view().x, view(), StageCount(4, 4, 2, 2), 2, weight())
