"""The examples in docstrings give what they say."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

from tests.tracked import ROOT, tracked

HAVE_EXAMPLES = [
    path.relative_to(ROOT)
    for path in tracked("atc/*.py", "reducers/*.py", "datamodules/*.py", "hydra_plugins/*.py")
    if ">>> " in path.read_text()
]
FEW = {
    *("atc.api", "atc.core.metric", "atc.core.plan", "atc.core.schedule", "atc.core.trace", "atc.pictures.draw"),
    *("atc.ops.linkage.cosine", "atc.ops.linkage.dispatch", "atc.ops.linkage.features"),
}


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def found(name: str) -> list[doctest.DocTest]:
    """The examples of a module: its own, and those of what it defines, behind decorators too."""
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == name]
    tests = [doctest.DocTestParser().get_doctest(module.__doc__ or "", dict(vars(module)), name, None, 0)]
    for value in own:
        if inspect.isclass(value) or inspect.isroutine(value):
            # Not asked for what is of this module: that would leave out functions behind a check.
            tests += finder.find(value, f"{name}.{value.__name__}", module=False, globs=dict(vars(module)))
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("path", HAVE_EXAMPLES, ids=dotted)
def test_examples(path: Path) -> None:
    tests = found(dotted(path))
    written = (ROOT / path).read_text().count(">>> ")
    assert sum(len(test.examples) for test in tests) == written  # none is where nobody looks
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        runner.run(test, out=said.append, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_what_users_call_most_has_examples() -> None:
    assert {dotted(path) for path in HAVE_EXAMPLES} >= FEW


def test_a_wrong_example_fails() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
