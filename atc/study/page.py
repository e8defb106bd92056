"""A page that shows where tokens go over a data set: depth maps of every method and keep rate, side by side."""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from atc.files import write_whole


def write_page(maps: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write the page: one file that loads nothing and opens from disk.

    Args:
        maps: a mapping per run: its method, keep_rate, capacity, data_set, the number of images, its blocks, the depth
            of the model, `mean` and `std` of the depth of each patch, the shares left as `rates`, and whether it keeps
            patches (`kept`).
        path: the file.

    Returns:
        The file.
    """
    text = json.dumps(list(maps), separators=(",", ":"), allow_nan=False)
    for letter in "<>&":  # no text in it is markup
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    page = (resources.files("atc.study") / "page.html").read_text(encoding="utf-8")
    return write_whole(path, page.replace("/*data*/[]", text))
