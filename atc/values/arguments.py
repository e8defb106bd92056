"""Arguments of functions and constructors, checked against their annotations."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, get_type_hints

from atc.values.fitting import check

P = ParamSpec("P")
R = TypeVar("R")

_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function, or an `__init__`, whose arguments are checked against their annotations when it is called.

    It gets numbers of NumPy and PyTorch as Python's, and 4 for 4.0 where it takes an int.

    Args:
        function: annotated; what is not, it gets as it is.

    Returns:
        The same function behind the check, which raises ValueError and names the argument.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        signature, hints = _read(function)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says what is missing or too much
        for name, value in bound.arguments.items():
            if name in hints:
                bound.arguments[name] = check(name, value, hints[name])
        return function(*bound.args, **bound.kwargs)

    return call


@functools.cache
def _read(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    """The signature, and the annotations of what is checked."""
    signature = inspect.signature(function)
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, TypeError):  # of names that only type checkers import
        return signature, {}
    found = {}
    for name, parameter in signature.parameters.items():
        if name in hints and parameter.kind not in _SEVERAL:
            optional = parameter.default is None
            found[name] = hints[name] | None if optional else hints[name]
    return signature, found
