"""The Pareto front of results that have a cost and a score. Imports no PyTorch."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Result = TypeVar("Result")


def pareto_front(
    results: Iterable[Result], cost: Callable[[Result], float], score: Callable[[Result], float]
) -> list[Result]:
    """The results than which none is both as cheap and better, or as good and cheaper; of equal ones the first.

    Args:
        results: in any order.
        cost: of a result; less is better.
        score: of a result; more is better.

    Returns:
        Those on the front, the cheapest first.

    Examples:
        >>> pareto_front([(3, 80), (1, 70), (2, 60), (1, 65)], cost=lambda one: one[0], score=lambda one: one[1])
        [(1, 70), (3, 80)]
    """
    front: list[Result] = []
    for one in sorted(results, key=lambda one: (cost(one), -score(one))):
        if not front or score(one) > score(front[-1]):
            front.append(one)
    return front
