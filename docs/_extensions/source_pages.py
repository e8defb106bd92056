"""Pages of source code without the list of all pages at their side, which takes most of the time of writing them."""

from typing import Any

from sphinx.application import Sphinx


def _alone(app: Sphinx, page: str, template: str, context: dict[str, Any], *_: object) -> None:
    if page.startswith("_modules/"):
        context["toctree"] = lambda **_: ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", _alone, priority=400)  # before the theme's
    return {"parallel_read_safe": True, "parallel_write_safe": True}
