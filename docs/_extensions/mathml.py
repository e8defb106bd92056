"""Formulas as MathML, which browsers show by themselves: no script, and nothing from another server."""

import re
from html import escape
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

log = logging.getLogger(__name__)

# What docutils does not know, and what it calls that.
NAMES = (
    (r"\\dots\b", r"\\ldots"),
    (r"\\texttt\b", r"\\mathtt"),
    (r"\\([Bb]ig)([(\[])", r"\\\1l\2"),
    (r"\\([Bb]ig)([)\]])", r"\\\1r\2"),
)


def _markup(node: nodes.Element, block: bool) -> str:
    formula = node.astext()
    for theirs, known in NAMES:
        formula = re.sub(theirs, known, formula)
    try:
        return str(tex2mathml(formula, as_block=block))
    except MathError as error:
        log.warning("this formula cannot be shown: %s (%s)", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def _inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(_markup(node, block=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{_markup(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
