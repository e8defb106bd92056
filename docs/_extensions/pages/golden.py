"""Which outputs of the authors' code a method is tested against, from tests/golden and the tests that read it."""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from pages.method import CHECKOUT, Method

FOLDER = CHECKOUT / "tests" / "golden"
# What is stored, by the last part of a key.
WHAT = {
    "logits": "logits",
    "assign": "the token of each patch",
    "Assignment_Maps": "the token of each patch",
    "labels": "the token of each patch",
    "source": "the token of each patch",
    "Kept_Tokens": "the patches that are kept",
    "kept": "the patches that are kept",
    "size": "sizes",
    "tokens": "token counts",
    "loss": "losses",
    "grad": "gradients",
    "level": "feature maps",
}
OTHERWISE = {"diffusion": "noise predictions", "diffusion_rates": "noise predictions", "every_block": "logits"}
TESTS = (  # those that compare methods; other tests take the files as examples
    "dense/test_golden.py",
    "dense/test_svit.py",
    "diffusion/test_diffusion_reduce.py",
    "diffusion/test_golden_decisions.py",
    "reducers/test_{}.py",
    "vit/test_golden*.py",
)
DIFFUSION = {"tome": "tome_2d"}  # how the files on diffusion call a method


@dataclass(frozen=True)
class Stored:
    """What a file of tests/golden has of a method.

    Attributes:
        file: its name.
        what: the kinds of outputs.
        tests: the tests that compare with it, from the root of the checkout.
        ours: whether an implementation of our own made it, and not the authors' code.
    """

    file: str
    what: tuple[str, ...]
    tests: tuple[str, ...]
    ours: bool


def stored(method: Method, every: Sequence[Method]) -> list[Stored]:
    """What is stored of a method.

    Args:
        method: the method.
        every: all methods, some of which share a class.

    Returns:
        One for each file that has outputs of it.
    """
    known = _names(method, sum(one.cls is method.cls for one in every) == 1)
    found = []
    for path in sorted(FOLDER.glob("*.npz")):
        keys = [key.removesuffix(".npy").split("|") for key in zipfile.ZipFile(path).namelist()]
        if path.stem.partition("_")[0] != method.name:
            calls = DIFFUSION if path.stem.startswith("diffusion") else {}
            keys = [key for key in keys if any(calls.get(part, part) in known for part in key[:2])]
        what = dict.fromkeys(one for key in keys if (one := _what(key, path.stem)))
        if what:
            tests = _tests(path.stem, method.cls.__module__.rpartition(".")[2])
            found.append(Stored(path.name, tuple(what), tests, path.stem.endswith("_ours")))
    return found


def text(method: Method, every: Sequence[Method]) -> str:
    """Whether and how a method is tested against outputs of the authors' code, in Markdown.

    Args:
        method: the method.
        every: all methods.

    Returns:
        A line, and a list of the files.
    """
    found = stored(method, every)
    own = f"tests/reducers/test_{method.cls.__module__.rpartition('.')[2]}.py"
    defined = f"Its own tests are in `{own}`." if (CHECKOUT / own).is_file() else ""
    if not any(not one.ours for one in found):
        said = "No output of the authors' code is stored. " + defined
    else:
        said = "It is compared with outputs of the authors' code, which are stored in `tests/golden`. " + defined
    lines = [said.strip()] if method.cls.reduces or found else ["There is nothing to compare."]
    for one in found:
        of = " (made by a slow implementation of our own)" if one.ours else ""
        tests = ", ".join(f"`{file}`" for file in one.tests)
        lines.append(f"- `{one.file}`{of}: {', '.join(one.what)}; compared in {tests}")
    return "\n\n".join([lines[0], "\n".join(lines[1:])]).strip()


def _names(method: Method, alone: bool) -> set[str]:
    """What the authors call it: the name of its file or model, and of variants of it."""
    theirs = method.cls.released_method
    if alone:
        bases = {method.name, theirs or method.name}
        return bases | {f"{base}_{variant}" for base in bases for variant in ("equal", "f64", "f32", "released")}
    return {method.name, *(f"{theirs}_{option.default}" for option in method.options if theirs)}


def _what(key: Sequence[str], stem: str) -> str:
    """What a key holds; empty where that is no output."""
    if stem.endswith("_params"):
        return ""
    for begins, what in WHAT.items():
        if any(re.fullmatch(rf"{begins}(_\w+|\d+)?", part) for part in key[1:]):
            return what
    return OTHERWISE.get(stem, "")


def _tests(stem: str, module: str) -> tuple[str, ...]:
    files = [path for one in TESTS for path in sorted((CHECKOUT / "tests").glob(one.format(module)))]
    found = [path for path in files if re.search(rf'outputs\(\s*"{stem}"', path.read_text(encoding="utf-8"))]
    return tuple(str(path.relative_to(CHECKOUT)) for path in found)
