"""What the API reference shows, and where its names lead: `atc.core.plan.Plan` to the entry of `atc.core.Plan`."""

import inspect
import re
from typing import Any

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.inspect import stringify_signature

OURS = ("atc", "datamodules", "hydra_plugins", "reducers")
PACKAGES = ("atc.core", "atc.dense", "atc.diffusion", "atc.ops.linkage", "atc")


def _of_others(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """Leave out what a class of ours holds of another library; None leaves the choice to Sphinx."""
    module = getattr(member, "__module__", None)
    return True if isinstance(module, str) and module.partition(".")[0] not in OURS else None


def _of_constructor(app: Sphinx, what: str, name: str, shown: Any, *_: object) -> tuple[str, None] | None:
    """How a class is called: by its `__init__`, also where a `__new__` takes anything; None leaves it to Sphinx."""
    if what != "class" or not inspect.isfunction(vars(shown).get("__init__")):
        return None
    whole = inspect.signature(shown.__init__)
    own = list(whole.parameters.values())[1:]
    called = whole.replace(parameters=own, return_annotation=inspect.Signature.empty)
    return stringify_signature(called, unqualified_typehints=True), None


def _no_enumeration(app: Sphinx, what: str, name: str, shown: object, options: object, lines: list[str]) -> None:
    """In "num_out: K." the letter is a letter, not the first item of a list."""
    lines[:] = [re.sub(r"^(\s+(?:\w+: )?)([A-Za-z])\.(?=\s|$)", r"\1\\\2.", line) for line in lines]


def _under_its_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Element | None:
    """The link for a name of ATC's that has no entry of its own; None where no package shows it."""
    target = str(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or not target.startswith("atc."):
        return None
    domain: Any = env.domains["py"]
    name = target.rpartition(".")[2]
    shown = next((f"{package}.{name}" for package in PACKAGES if f"{package}.{name}" in domain.objects), None)
    if shown is None:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", shown, node, content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", _of_others)
    app.connect("autodoc-process-signature", _of_constructor)
    app.connect("autodoc-process-docstring", _no_enumeration, priority=400)  # before napoleon
    app.connect("missing-reference", _under_its_public_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
