"""The reductions of one forward; what only reads of a trace need is computed when it is read."""

from typing import NamedTuple

from torch import Tensor

from atc.core.plan import Mix, Plan
from atc.core.trace import StageTrace, Trace, count_real, follow


class Reduction(NamedTuple):
    """What one stage made of the tokens that it saw.

    Attributes:
        block: 1-based.
        tokens_in: N, patch tokens.
        plan: what the reducer decided.
        size: ``[B, K]`` float, source patches of each token that is left.
    """

    block: int
    tokens_in: int
    plan: Plan
    size: Tensor


class Reductions:
    """The reductions of one forward, in order.

    Labels, source maps and shares of a trace cost operators, and after most forwards nobody reads them.

    Args:
        made: those to begin with; None: none.
        passing: each is of one block only, before and behind which all patches are there.

    Attributes:
        made: one per stage so far.
    """

    def __init__(self, made: list[Reduction] | None = None, passing: bool = False):
        self.made, self.passing = [] if made is None else made, passing
        self._stages: list[StageTrace] = []  # of those reductions that somebody asked for
        self._trace = Trace(())  # given (), since torch.compile of PyTorch 2.11 breaks the graph at Trace()

    def again(self) -> "Reductions":
        """The same reductions with nothing computed: their tensors may have new values."""
        return Reductions(self.made, self.passing)

    def source(self, number: int) -> Tensor:
        """``[B, N0]`` int64, the token that holds each source patch after the first `number` reductions, at least 1."""
        return self.stages()[number - 1].source

    def stages(self) -> list[StageTrace]:
        """What became of the tokens in each stage."""
        for reduction in self.made[len(self._stages) :]:
            plan, labels = reduction.plan, reduction.plan.labels
            source = follow(self._stages[-1].source, labels) if self._stages and not self.passing else labels
            self._stages.append(
                StageTrace(
                    *(reduction.block, reduction.tokens_in, plan.num_out, labels, reduction.size, source),
                    valid=plan.valid,
                    count=count_real(plan.valid),
                    shares=plan.shares() if isinstance(plan, Mix) else None,
                )
            )
        return list(self._stages)

    def trace(self) -> Trace:
        """The same as a `Trace`; the same one until there is another reduction."""
        if len(self._trace) < len(self.made):
            self._trace = Trace(self.stages())
        return self._trace
