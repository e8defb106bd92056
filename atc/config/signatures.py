"""What the target of a configuration node takes, read from its source: names, types and ranges."""

import ast
import functools
import inspect
from typing import Any, NamedTuple

from atc.config.annotations import evaluated, special
from atc.config.others import RANGES
from atc.config.source import Definition, Module, find, lookup

_DEPTH = 20  # of classes below classes


class Parameter(NamedTuple):
    """A parameter as it stands in the source."""

    annotation: ast.expr | None
    default: ast.expr | None
    module: Module

    def type(self) -> Any:
        """What it may be; `inspect.Parameter.empty` without an annotation. `atc.values` says what that means."""
        if self.annotation is None:
            return inspect.Parameter.empty
        kind = evaluated(self.annotation, self.module)
        optional = isinstance(self.default, ast.Constant) and self.default.value is None
        return kind | None if optional and kind is not Any else kind


class Signature(NamedTuple):
    """The settings of a target.

    Attributes:
        name: of the class or function.
        parameters: by name, in the source, or as the table of other libraries' ranges has them.
        open: whether it takes others as well.
    """

    name: str
    parameters: dict[str, Parameter | Any]
    open: bool

    def type(self, name: str) -> Any:
        """What a parameter may be."""
        found = self.parameters[name]
        return found.type() if isinstance(found, Parameter) else found


@functools.cache
def signature(target: str) -> Signature | None:
    """The signature of a dotted name, as in `_target_`.

    Args:
        target: such as "reducers.tome.ToMe" or "lightning.pytorch.Trainer".

    Returns:
        The signature; None where no source is found that has one.
    """
    found = find(target)
    return None if found is None else _of(found, 0)


def _of(found: Definition, depth: int) -> Signature | None:
    node = found.node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return _of_function(found, node.name, node)
    if isinstance(node, ast.ClassDef) and depth <= _DEPTH:
        read = _of_class(found, node, depth)
        ranges = RANGES.get(f"{found.module.name}.{node.name}", {})
        return None if read is None else read._replace(parameters=read.parameters | ranges)
    if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
        meant = lookup(ast.unparse(node.value), found.module)
        return _of(meant, depth + 1) if isinstance(meant, Definition) else None
    return None


def _of_class(found: Definition, node: ast.ClassDef, depth: int) -> Signature | None:
    inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    own = _of_function(found, node.name, inits[-1], bound=True) if inits else None
    if own is None and (_is_dataclass(node) or _is_named_tuple(node)):
        own = _of_fields(found, node)
    if own is not None and not own.open:
        return own
    base = next(filter(None, (_base(one, found, depth) for one in node.bases)), None)
    if own is None:
        return None if base is None else base._replace(name=node.name)
    # **settings of its own go to the class above, as a rule.
    return own if base is None else own._replace(parameters=base.parameters | own.parameters)


def _base(one: ast.expr, found: Definition, depth: int) -> Signature | None:
    meant = lookup(ast.unparse(one.value if isinstance(one, ast.Subscript) else one), found.module)
    return _of(meant, depth + 1) if isinstance(meant, Definition) else None


def _of_function(
    found: Definition, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool = False
) -> Signature:
    """bound: whether the first parameter is `self`."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = list(zip(positional, defaults, strict=True))[1 if bound else 0 :]
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    parameters = {one.arg: Parameter(one.annotation, default, found.module) for one, default in pairs}
    return Signature(name, parameters, arguments.kwarg is not None)


def _of_fields(found: Definition, node: ast.ClassDef) -> Signature:
    """Of a data class, or of a named tuple, whose fields are all there are."""
    parameters = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            outer = item.annotation.value if isinstance(item.annotation, ast.Subscript) else item.annotation
            if special(outer, found.module) != "ClassVar":
                parameters[item.target.id] = Parameter(item.annotation, item.value, found.module)
    return Signature(node.name, parameters, bool(node.bases) and not _is_named_tuple(node))


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = [ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in node.decorator_list]
    return any(name.rpartition(".")[2] == "dataclass" for name in names)


def _is_named_tuple(node: ast.ClassDef) -> bool:
    return any(ast.unparse(one).rpartition(".")[2] == "NamedTuple" for one in node.bases)
