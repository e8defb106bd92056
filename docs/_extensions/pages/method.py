"""What is known of a method: its file in conf/reducer, and the class that this names."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atc import methods
from atc.core import Reducer
from pages.described import Citation, Described, citation, described

CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Option:
    """A setting of a method.

    Attributes:
        name: as on the command line, without `reducer.`.
        default: as one types it.
        text: what it is, or what the file of conf/reducer says of it.
    """

    name: str
    default: str
    text: str


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        name: that of its file in conf/reducer.
        cls: its class.
        doc: the docstring of the class, taken apart.
        cited: the docstring of its file, taken apart.
        options: the settings of its file in conf/reducer.
    """

    name: str
    cls: type[Reducer]
    doc: Described
    cited: Citation
    options: tuple[Option, ...]

    @property
    def target(self) -> str:
        """Where the class is, dotted."""
        return f"{self.cls.__module__}.{self.cls.__qualname__}"

    @property
    def file(self) -> str:
        """The file of the class, from the root of the checkout."""
        return f"{self.cls.__module__.replace('.', '/')}.py"


def all_methods() -> list[Method]:
    """Every method of conf/reducer, by name; those that installed packages bring are left out."""
    folder = methods.conf_dir() / "reducer"
    return [_method(path) for path in sorted(folder.glob("*.yaml"))]


def _method(path: Path) -> Method:
    text = path.read_text(encoding="utf-8")
    node: dict[str, Any] = yaml.safe_load(text)
    module, _, name = str(node["_target_"]).rpartition(".")
    source = importlib.import_module(module)
    cls = getattr(source, name)
    doc = described(cls.__doc__)
    comments = dict(re.findall(r"^(\w+): [^#\n]*# (.+)$", text, re.M))
    options = [
        Option(key, _typed(value), doc.arguments.get(key) or comments.get(key, ""))
        for key, value in node.items()
        if key not in ("_target_", "_partial_")
    ]
    return Method(path.stem, cls, doc, citation(source.__doc__), tuple(options))


def _typed(value: Any) -> str:
    """A value as one types it; of one that is taken from elsewhere, what it is there."""
    if value == "${as_released}":
        return "false"
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if not _number(value) else str(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
