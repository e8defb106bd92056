"""The interactive page: one self-contained HTML file with the image, and every step of every method, inside."""

import base64
import io
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image

from atc.pictures import colours
from atc.pictures.methods import Method
from atc.pictures.order import histories
from atc.pictures.photo import Photo
from atc.pictures.regions import Pixels, patch_size


def render(photo: Photo, methods: Sequence[Method], setting: str = "") -> str:
    """The page as HTML: it loads nothing from the network and opens from disk.

    Args:
        photo: the photograph.
        methods: what the page can switch to.
        setting: the one to begin with, if the methods have it.

    Raises:
        ValueError: there are no methods.
    """
    if not methods:
        raise ValueError("no method to show on the page: none works on this backbone")
    data = for_script(content(photo, methods, setting))
    files = resources.files("atc.pictures") / "template"
    page = (files / "page.html").read_text(encoding="utf-8")
    for place, name in (("style", "page.css"), ("drawing", "draw.js"), ("controls", "page.js")):
        page = page.replace(f"/*{place}*/", (files / name).read_text(encoding="utf-8"))
    return page.replace("/*data*/", data)


def for_script(data: Any) -> str:
    """Data as JSON that can stand in an HTML script element: no text in it, such as <!--<script>, is markup there."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def content(photo: Photo, methods: Sequence[Method], setting: str) -> dict[str, Any]:
    """What the page's script reads.

    Args:
        photo: the photograph.
        methods: what the page can switch to.
        setting: the one to begin with.

    Returns:
        photo: a data URL; means: mean colour of each patch; palette: CSS colours; setting: the one to begin with; runs:
            per
        method and setting the steps of `order.History`, the palette entry of each patch's token while it leads one, and
        the stages.
    """
    grid = methods[0].model.host.grid(photo.seen)
    height, width = patch_size(photo.drawn, grid)
    means = photo.drawn.reshape(grid[0], height, grid[1], width, 3).mean(axis=(1, 3)).round().astype(int)
    return {
        "name": photo.name,
        "photo": _data_url(photo.drawn),
        "size": [photo.drawn.shape[1], photo.drawn.shape[0]],
        "grid": list(grid),
        "means": means.reshape(-1, 3).tolist(),
        "palette": [f"rgb({r},{g},{b})" for r, g, b in colours.palette()[0].tolist()],
        "setting": setting,
        "runs": [_run(photo, method) for method in methods],
    }


def _run(photo: Photo, method: Method) -> dict[str, Any]:
    (history,) = histories(method.model, photo.seen)
    linkages = {getattr(reducer, "linkage", None) for reducer in method.model.reducers.values()} - {None}
    linkage = linkages.pop() if len(linkages) == 1 else None
    return {
        "reducer": method.reducer.removesuffix(f"_{linkage}"),
        "linkage": linkage,
        "setting": method.setting,
        "steps": history.steps.tolist(),
        "colours": colours.of_leaders(history.steps, history.grid).tolist(),
        "stages": [mark._asdict() for mark in history.stages],
        "notices": method.model.notices,
    }


def _data_url(picture: Pixels) -> str:
    buffer = io.BytesIO()
    # Few pixels (digits) must stay as they are; a photograph would make the page heavy.
    small = np.prod(picture.shape[:2]) < 100_000
    Image.fromarray(picture).save(buffer, "PNG" if small else "JPEG", quality=92)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
