"""What the labels of a detector stand for: ids and names of categories, in the order of the labels."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from atc.files import json_text, write_whole
from atc.printable import printable

log = logging.getLogger(__name__)

FILE = "categories.json"  # in the directory of a run
MOST_BYTES = 1 << 20
_NONE = ("__background__", "N/A")  # how torchvision calls ids that COCO does not use


class Category(TypedDict):
    """A kind of objects.

    Attributes:
        id: in COCO's files.
        name: of the kind.
    """

    id: int
    name: str


def of_coco() -> list[Category]:
    """The 80 categories of COCO, in the order of their ids, which is that of mmdet's labels."""
    names = MaskRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    return [{"id": number, "name": name} for number, name in enumerate(names) if name not in _NONE]


def write(directory: Path, categories: Sequence[Any]) -> None:
    """Keep what the labels of a run's detector stand for.

    Args:
        directory: of the run.
        categories: by label, from that of label 1, each with `id` and `name`.
    """
    kept = [{"id": int(one["id"]), "name": str(one["name"])} for one in categories]
    write_whole(directory / FILE, json_text(kept))


def read(directory: Path) -> list[Category] | None:
    """What was kept in the directory of a run; None where nothing was.

    Args:
        directory: of the run.

    Raises:
        ValueError: the file is damaged; one line that names it.
    """
    file = directory / FILE
    if not file.is_file():
        return None
    right = 'it must be a list such as [{"id": 1, "name": "person"}]'
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{file} is too large for a list of categories: {right}")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not readable: {right}") from error
    fits = isinstance(found, list) and all(
        isinstance(one, dict) and type(one.get("id")) is int and isinstance(one.get("name"), str) for one in found
    )
    if not fits:
        raise ValueError(f"{file} holds no categories: {right}")
    return [{"id": one["id"], "name": printable(one["name"])} for one in found]


def of_detector(count: int, directory: Path | None, of_data: Sequence[Any] | None = None) -> list[Category]:
    """The categories of a detector: those kept with its run, else of its data set, else COCO's, else numbers.

    Args:
        count: how many kinds of objects it finds.
        directory: of the run that it comes from, if it comes from one.
        of_data: the categories of its data set, where these are known without its files.

    Returns:
        `count` categories, from that of label 1.

    Raises:
        ValueError: those kept with the run are damaged.
    """
    kept = None if directory is None else read(directory)
    coco = of_coco()
    for found in (kept, of_data, coco):
        if found is not None and len(found) == count:
            return [{"id": one["id"], "name": one["name"]} for one in found]
    log.warning("nothing says what the %d classes of the detector are called: they are shown by number", count)
    return [{"id": label, "name": f"class {label}"} for label in range(1, count + 1)]
