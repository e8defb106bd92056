"""What a number says: its unit, how it is shown, and whether more of it is better. Imports nothing."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple


class Metric(NamedTuple):
    """A number that a task comes to; checkpoints, summaries, tables, ranks and figures read its direction and unit.

    Attributes:
        name: under which the task logs it, as in "val/accuracy".
        unit: behind the number when it is shown, such as "%"; empty for a number without one.
        scale: what is recorded times `scale` is what is shown: 100 for a share in percent.
        higher_is_better: False for distances and losses.

    Examples:
        >>> accuracy = Metric("accuracy", "%", 100.0)
        >>> accuracy.text(0.8125)
        '81.25 %'
        >>> Metric("fid", higher_is_better=False).best([7.5, 6.25])
        6.25
    """

    name: str
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = True

    @property
    def mode(self) -> Literal["max", "min"]:
        """As `ModelCheckpoint` calls the direction."""
        return "max" if self.higher_is_better else "min"

    @property
    def label(self) -> str:
        """Name and unit: "accuracy, %"."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def shown(self, value: float) -> float:
        """A recorded value on the scale that people read."""
        return self.scale * value

    def text(self, value: float, decimals: int = 2) -> str:
        """A recorded value with its unit: "81.25 %"."""
        return f"{self.shown(value):.{decimals}f} {self.unit}".rstrip()

    def better(self, one: float, other: float) -> bool:
        """Whether the first of two values is the better one; equal ones are not."""
        return one > other if self.higher_is_better else one < other

    def best(self, values: Iterable[float]) -> float:
        """The best of some values."""
        return max(values) if self.higher_is_better else min(values)

    def lead(self, own: float, other: float) -> float:
        """By how much one value is better than another, in their own unit; negative where it is worse."""
        return own - other if self.higher_is_better else other - own


ACCURACY = Metric("accuracy", "%", 100.0)
# The names that files of published numbers have. Another one is given with its unit, scale and direction.
PUBLISHED = {
    one.name: one
    for one in (
        *(Metric(name, "%", 100.0) for name in ("top1", "top5", "accuracy", "map")),
        *(Metric(name, "points", 100.0) for name in ("map_box", "map_mask", "ap")),
        *(Metric(name, higher_is_better=False) for name in ("fid", "loss")),
        Metric("nmi"),
    )
}


def is_recorded(value: Any) -> bool:
    """Whether this is what records have as `metric`, or nothing."""
    if value is None:
        return True
    kinds: dict[str, Any] = {"name": str, "unit": str, "scale": (int, float), "higher_is_better": bool}
    return (
        isinstance(value, dict)
        and value.keys() == kinds.keys()
        and all(
            isinstance(value[key], kind) and (key == "higher_is_better" or not isinstance(value[key], bool))
            for key, kind in kinds.items()
        )
    )


def of_layout(said: Any) -> Metric:
    """The metric of a sweep file: the name of one that is known, or its parts.

    Raises:
        ValueError: an unknown name, or parts that are none; one line.
    """
    if isinstance(said, str):
        if said not in PUBLISHED:
            raise ValueError(
                f"'{said}' is none of {', '.join(PUBLISHED)}; another one is given with its parts: "
                f"{{name: {said}, unit: '', scale: 1, higher_is_better: true}}"
            )
        return PUBLISHED[said]
    if isinstance(said, dict) and isinstance(said.get("name"), str) and said.keys() <= set(Metric._fields):
        made = Metric(**said)._asdict()
        if is_recorded(made):
            return Metric(**made)
    raise ValueError(f"{said} must be a name, or {{name: TEXT, unit: TEXT, scale: NUMBER, higher_is_better: true}}")
