"""What a value may be, read from annotations: types, ranges and choices, checked where values enter.

An annotation is `int`, `float`, `bool`, `str`, `Literal[...]`, `Sequence[...]`, `Mapping`, a path, or a union of these
and None. A range stands beside a number's type, in the notation of intervals: `Annotated[float, "(0, 1]"]`,
`Annotated[int, "[1, inf)"]`; an example beside it begins with "such as"; beside a list, "ascending" says that it is
not empty and each number larger than the one before. Any other class fits what is no plain value.

bool is never a number, 4.0 is an integer and 4.5 is not, no number is NaN or infinite; numbers of NumPy, and tensors
without dimensions, are numbers.
"""

from atc.values.arguments import checked
from atc.values.fitting import check
from atc.values.kinds import (
    Blocks,
    Count,
    Counts,
    KeepRate,
    KeepRates,
    NotNegative,
    Positive,
    Seed,
    Share,
    Side,
    Thresholds,
    Whole,
    Workers,
)
from atc.values.wording import described, shown

__all__ = [
    "Blocks",
    "Count",
    "Counts",
    "KeepRate",
    "KeepRates",
    "NotNegative",
    "Positive",
    "Seed",
    "Share",
    "Side",
    "Thresholds",
    "Whole",
    "Workers",
    "check",
    "checked",
    "described",
    "shown",
]
