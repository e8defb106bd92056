"""How Sphinx builds the documentation: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``.

Nothing is fetched. ``ATC_DOCS_INVENTORIES=1`` lets names of Python, PyTorch and torchvision link to their own
documentation, whose inventories are then downloaded (timm publishes none). ``ATC_DOCS_URL`` says where the site will
lie.
"""

import os
import sys
import tomllib
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]
os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}

_PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "ATC"
author = "the ATC developers"
project_copyright = author
version = release = metadata.version("atc-toolkit")
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.intersphinx",
    "myst_nb",  # Markdown, and the notebooks that it runs
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_sitemap",
    *sorted(path.stem for path in (HERE / "_extensions").glob("*.py")),
]
exclude_patterns = ["_build", "_extensions", "jupyter_execute"]
default_role = "literal"
suppress_warnings = ["ref.python"]  # a class that two modules show: the first is linked to

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"  # of indented blocks, most of which are commands
nb_execution_mode = "force"
nb_execution_timeout = 600  # seconds a cell, of which it needs a few
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # counts out of reach, said once a model

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
viewcode_line_numbers = True

if os.environ.get("ATC_DOCS_INVENTORIES") == "1":
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "torchvision": ("https://docs.pytorch.org/vision/stable", None),
    }

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"ATC {release}"
html_baseurl = os.environ.get("ATC_DOCS_URL") or _PROJECT["urls"]["Documentation"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
sitemap_url_scheme = "{link}"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
