"""What a run said of each test image: RUN/predictions_NAME.parquet, and in brief in its record.

A row is an image, in the order of the test images, and NAME the evaluation, such as off_the_shelf. Columns are

- `image`: its name, the path relative to the data set's root; drawn images have their part and number;
- of one class an image: `target`, `prediction` and `correct`; `loss`, the image's cross-entropy; `top`, the (at most)
  five classes of the highest score, best first, and `probability`, the softmax of their scores;
- of several labels an image: `targets`, the labels that are there, and `scores`, the logits of all labels.

The record has for each evaluation how many images there were, a hash of their names, and of one class an image whether
each is right: a bit an image in the order of the names, so that tables can compare runs wherever records are.
"""

import base64
import binascii
import hashlib
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atc.files import write_whole

PREFIX = "predictions_"
TOP = 5  # classes kept of an image
MISSING = 'pip install "atc-toolkit[study]": predictions are Parquet files, and pyarrow is not installed'

Array = NDArray[Any]


@dataclass(frozen=True)
class Predictions:
    """What one evaluation said of each image, in the order of the images' names.

    Attributes:
        file: where they were read.
        images: their names, sorted.
        targets: int ``[n]``, the class of each; of several labels uint8 ``[n, K]`` in {0, 1}.
        correct: bool ``[n]``; None of several labels.
        scores: float32 ``[n, K]``, of several labels; None otherwise.
    """

    file: Path
    images: tuple[str, ...]
    targets: Array
    correct: Array | None = None
    scores: Array | None = None


def write(directory: Path, name: str, images: Sequence[str], columns: Mapping[str, Array]) -> Path:
    """Write the predictions of one evaluation, whole or not at all.

    Args:
        directory: of the run.
        name: of the evaluation, such as "off_the_shelf".
        images: names, in the order of the rows.
        columns: ``[n]`` or ``[n, k]`` by name; `targets` ``[n, K]`` in {0, 1} become lists of labels.

    Returns:
        The file.

    Raises:
        ValueError: pyarrow is not installed.
        OSError: the file cannot be written.
    """
    arrow, parquet = _pyarrow()
    table = arrow.table({"image": list(images)} | {key: _column(arrow, key, values) for key, values in columns.items()})
    content = io.BytesIO()
    parquet.write_table(table, content, compression="zstd")
    return write_whole(directory / f"{PREFIX}{name}.parquet", content.getvalue())


def read(place: Path) -> Predictions:
    """The predictions in a file, or of a run: of its directory the file that is not of the model without reduction.

    Args:
        place: a Parquet file, or a run directory.

    Returns:
        The predictions.

    Raises:
        ValueError: there are none, several, or they are damaged; an image is there twice.
    """
    file = _file_of(place)
    arrow, parquet = _pyarrow()
    try:
        table = parquet.ParquetFile(file).read()
        names = set(table.column_names)
        if not {"image", "correct", "target"} <= names and not {"image", "scores", "targets"} <= names:
            raise ValueError(f"its columns are {', '.join(table.column_names) or 'none'}")
        images = [str(name) for name in table.column("image").to_pylist()]
        order = np.array(sorted(range(len(images)), key=images.__getitem__), dtype=np.int64)
        correct = scores = None
        if "correct" in names:
            correct = np.asarray(table.column("correct").to_pylist(), dtype=bool)[order]
            targets = np.asarray(table.column("target").to_pylist(), dtype=np.int64)[order]
        else:
            scores = np.array(table.column("scores").to_pylist(), dtype=np.float32).reshape(len(images), -1)[order]
            targets = np.zeros(scores.shape, dtype=np.uint8)
            there = table.column("targets").to_pylist()
            for row, number in enumerate(order.tolist()):
                targets[row, there[number]] = 1
    except (arrow.ArrowException, OSError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"{file} is no file of predictions, as evaluate.py predictions=true writes: {error}") from None
    if not images:
        raise ValueError(f"{file} has no images")
    ordered = tuple(images[number] for number in order)
    twice = next((one for one, other in itertools.pairwise(ordered) if one == other), None)
    if twice is not None:
        count = images.count(twice)
        raise ValueError(f"{file}: the image {twice} is there {count} times, and images are joined by name")
    return Predictions(file, ordered, targets, correct, scores)


def remove(directory: Path) -> None:
    """Remove the predictions of an earlier evaluation in the same run directory."""
    for file in directory.glob(f"{PREFIX}*.parquet"):
        file.unlink()


def in_brief(directory: Path) -> dict[str, dict[str, Any]]:
    """What the record of a run has of its predictions.

    Args:
        directory: of the run.

    Returns:
        By evaluation: `images`, how many; `names`, a hash of their names; `correct`, of one class an image, a bit an
        image in the order of the names (`numpy.packbits`, in base 64).
    """
    found = {file.stem.removeprefix(PREFIX): read(file) for file in sorted(directory.glob(f"{PREFIX}*.parquet"))}
    return {name: _brief(one) for name, one in found.items()}


def correct_of(brief: Mapping[str, Any]) -> Array | None:
    """Which images were right, from what a record has of an evaluation.

    Args:
        brief: as `in_brief` has it.

    Returns:
        bool ``[images]`` in the order of the images' names; None where the record does not say, or is damaged.
    """
    try:
        bits = np.frombuffer(base64.b64decode(brief["correct"], validate=True), np.uint8)
        images = int(brief["images"])
        return np.unpackbits(bits, count=images).astype(bool) if len(bits) == -(-images // 8) else None
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def _brief(one: Predictions) -> dict[str, Any]:
    names = hashlib.sha256("\n".join(one.images).encode(errors="surrogateescape")).hexdigest()[:16]
    found: dict[str, Any] = {"images": len(one.images), "names": names}
    if one.correct is not None:
        found["correct"] = base64.b64encode(np.packbits(one.correct).tobytes()).decode()
    return found


def _file_of(place: Path) -> Path:
    if not place.exists():
        raise ValueError(f"{place}: there is no such run directory or file (looked from {Path.cwd()})")
    if not place.is_dir():
        return place
    files = sorted(place.glob(f"{PREFIX}*.parquet"))
    wanted = [file for file in files if file.stem != f"{PREFIX}dense"] or files
    if not wanted:
        raise ValueError(f"{place} has no predictions: evaluate.py predictions=true writes them")
    if len(wanted) > 1:
        raise ValueError(f"{place} has several predictions: name one of {', '.join(file.name for file in wanted)}")
    return wanted[0]


def _column(arrow: Any, name: str, values: Array) -> Any:
    if name == "targets":
        return arrow.array([np.flatnonzero(row).tolist() for row in values], arrow.list_(arrow.int32()))
    if values.ndim == 1:
        return arrow.array(values)
    return arrow.FixedSizeListArray.from_arrays(arrow.array(values.reshape(-1)), values.shape[1])


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError(MISSING) from None
    return pyarrow, parquet
