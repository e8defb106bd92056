"""Methods that choose the tokens of one block only; the others pass it by and are back behind it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from atc.core.plan import Plan, Select
from atc.core.reducer import TokenView


class BlockGate(nn.Module, ABC):
    """Chooses the patch tokens that one block computes. Of a method for many blocks, it is a `Reducer` with `gates`.

    The sequence keeps its length: tokens that are not chosen leave the block as they entered it,
    ``plan.expand(block(plan.reduce(x)), fill=x)``. Images may choose different numbers of tokens; the plan then pads to
    the most, with `valid`. `Stream.step(number, gate)` applies a gate. Evaluation draws nothing at random.
    """

    @abstractmethod
    def forward(self, view: TokenView) -> Select:
        """Which of the N tokens the block computes; keys and attention are those of the block before."""

    def losses(self, plans: Sequence[Plan], *context: Any) -> dict[str, Tensor]:
        """Extra training losses by name, as `Reducer.losses`."""
        return {}
