"""The search for the method and the schedule that agree most with the dense model at a given cost."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from atc.choose.candidates import Candidate, EveryBlock, Family, PerBlock, Uniform, UpTo, mildest
from atc.choose.measures import Agreement, Comparison
from atc.config import build
from atc.cost.pareto import pareto_front
from atc.vit.reduced import reducer_class

log = logging.getLogger(__name__)

Share = Callable[[Candidate], float]
FIRST = 2  # block: at the first one, some methods have no attention to decide by


class Tried(NamedTuple):
    """A candidate with what was measured of it.

    Attributes:
        candidate: the method and its schedule.
        cost: share of the cost of the dense model.
        agreement: on the images for choosing.
        budget: that it was tried for.
        found: "grid" or "search".
    """

    candidate: Candidate
    cost: float
    agreement: Agreement
    budget: float
    found: str


class Search:
    """Tries methods and schedules, and keeps all that it tried.

    Args:
        comparison: agreement with the dense model.
        share: the cost of a candidate.
        depth: blocks of the backbone.
        patches: of an image, N0.

    Attributes:
        tried: in the order of trying.
        left_out: by method and schedule, why nothing was tried.
    """

    def __init__(self, comparison: Comparison, share: Share, depth: int, patches: int):
        self.comparison, self.share, self.depth, self.patches = comparison, share, depth, patches
        self.tried: list[Tried] = []
        self.left_out: dict[str, str] = {}
        self._families: dict[Candidate, Family] = {}

    def grid(self, reducers: Sequence[str], schedules: Sequence[str], blocks: Sequence[int], budget: float) -> None:
        """Try every method with every kind of schedule, as strong as the budget asks.

        Args:
            reducers: names of conf/reducer.
            schedules: of "stages", "constant" and "linear".
            blocks: of "stages".
            budget: share of the cost of the dense model.
        """
        for reducer in reducers:
            for schedule in schedules:
                try:
                    self._try(self._family(reducer, schedule, blocks), budget, "grid")
                except ValueError as error:
                    self._leave_out(f"{reducer}, schedule={schedule}", str(error))

    def per_block(self, reducer: str, stages: int, budget: float, trials: int, seed: int) -> None:
        """Let Optuna propose blocks, and how the reduction is shared out over them.

        Each proposal is made as strong as the budget asks, so that all of them cost the same. The first is that of
        equal shares at blocks spread evenly.

        Args:
            reducer: a name of conf/reducer.
            stages: how many blocks reduce.
            budget: share of the cost of the dense model.
            trials: proposals to try.
            seed: of the sampler.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        last = self.depth - stages + 1  # from the first block that may come next to the last one, gaps included
        study.enqueue_trial({f"share_{stage}": 1.0 for stage in range(stages)})
        for _ in range(trials):
            trial = study.ask()
            places = sorted(trial.suggest_int(f"place_{stage}", FIRST, max(FIRST, last)) for stage in range(stages))
            blocks = [place + stage for stage, place in enumerate(places)]
            shares = [trial.suggest_float(f"share_{stage}", 0.05, 1.0) for stage in range(stages)]
            try:
                family = UpTo if _by_threshold(reducer) else PerBlock
                found = self._try(family(reducer, blocks, shares), budget, "search")
            except ValueError as error:
                log.info("%s at blocks %s: %s", reducer, blocks, error)
                found = None
            if found is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, found.agreement.top1 + 1e-6 * found.agreement.divergence)

    def along(self, tried: Tried, budgets: Sequence[float]) -> None:
        """Try the family of a candidate at other budgets.

        Args:
            tried: one of `tried`.
            budgets: shares of the cost of the dense model.
        """
        for budget in budgets:
            self._try(self._families[tried.candidate], budget, tried.found)

    def best(self, budget: float, count: int | None = None) -> list[Tried]:
        """What agreed most at a budget, the best of each method, best first.

        Args:
            budget: that they were tried for.
            count: how many methods at most.
        """
        of: dict[str, Tried] = {}
        for one in self.tried:
            name = one.candidate.reducer
            if one.budget == budget and (name not in of or one.agreement > of[name].agreement):
                of[name] = one
        return sorted(of.values(), key=lambda one: one.agreement, reverse=True)[:count]

    def front(self) -> list[Tried]:
        """Those that no other one beats in both cost and agreement, by rising cost."""
        return pareto_front(self.tried, cost=lambda one: one.cost, score=lambda one: one.agreement.top1)

    def _family(self, reducer: str, schedule: str, blocks: Sequence[int]) -> Family:
        """Settings of a method that differ in one number; ValueError for a method without such a schedule."""
        if _by_threshold(reducer):
            if schedule != "stages":
                raise ValueError("a threshold goes with schedule=stages")
            return UpTo(reducer, blocks)
        if schedule == "stages":
            return Uniform(reducer, blocks)
        return EveryBlock(reducer, schedule, max(1, 2 * self.patches // self.depth))

    def _try(self, family: Family, budget: float, found: str) -> Tried | None:
        within = mildest(family, self.share, budget)
        if within is None:
            least = self.share(family.at(99))
            self._leave_out(str(family.at(99)), f"costs {least:.3f} of the dense model at the least, above {budget}")
            return None
        candidate, cost = _plain(within[0], self.comparison), within[1]
        self._families[candidate] = family
        tried = Tried(candidate, cost, self.comparison.agreement(candidate), budget, found)
        self.tried.append(tried)
        log.info("cost %.3f, agreement %6.2f %%: %s", cost, 100 * tried.agreement.top1, candidate)
        return tried

    def _leave_out(self, what: str, why: str) -> None:
        self.left_out[what] = why
        log.info("left out: %s: %s", what, why)


def _by_threshold(reducer: str) -> bool:
    return reducer_class(build.find_reducer(reducer)).by_threshold


def _plain(candidate: Candidate, comparison: Comparison) -> Candidate:
    """The candidate without `clamp` where the method reaches all its counts."""
    without = candidate._replace(clamp=False)
    try:
        without.model(comparison.vit)
    except ValueError:
        return candidate
    return without
