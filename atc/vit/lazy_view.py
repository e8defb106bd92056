"""What a reducer sees of a forward, where the parts that few methods read are computed when they are read."""

from collections.abc import Iterator
from typing import Any

from atc.core import TokenView


class LazyView(TokenView):
    """A `TokenView` that may hold a function without arguments in place of `x`, `keys` and `source`.

    Reading the attribute calls it. Copies with other fields (`_replace`) may hold the same functions.
    """

    def __getattribute__(self, name: str) -> Any:
        """A field, computed where it is a function."""
        field = super().__getattribute__(name)
        return _value(field) if name in ("x", "keys", "source") else field

    def __iter__(self) -> Iterator[Any]:
        """The fields, computed."""
        return map(_value, super().__iter__())


def _value(field: Any) -> Any:
    return field() if callable(field) else field
