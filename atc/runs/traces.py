"""What an evaluation did to the patches of each image: one Parquet file per chunk of images, in RUN/trace.

A row is an image. Its columns are

- `image`: number in the order of the test images; `prediction` and `target`: classes (not of multi-label data);
- `labels_B`, of each reducing block B: the token that holds each source patch, one number per patch, row by row; uint8,
  or uint16 (little endian) where there are more than 254 patches; the largest number means dropped. Soft methods: the
  token with the largest share;
- `kept_B`: one bit per source patch, packed as by `numpy.packbits`: whether it is still a token of its own, or the
  centre of a cluster. It does not follow from the labels. Missing for methods that keep no token as it is;
- `tokens_B`: how many tokens hold something of what enters the block, by the labels of that block alone;
- `cls_B`: the CLS token after block B, float32.

Labels, bits and CLS tokens are bytes of one length. Parquet because pandas, Polars, DuckDB and Arrow read it, it is
compressed by column, and every part is a file that is there whole or not at all. trace.json is written when all images
are.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atc.files import write_json, write_whole

DIRECTORY, INDEX = "trace", "trace.json"
CHUNK = 1024  # images of a part
MISSING = 'pip install "atc-toolkit[study]": traces are Parquet files, and pyarrow is not installed'

Array = NDArray[Any]


class TraceWriter:
    """Writes the parts of a trace, each whole or not at all; no more than one part is in memory.

    Args:
        directory: where; made if it is missing.
        parts: how many are there already.
        chunk: images of a part; one is written at the first batch that fills it.

    Attributes:
        directory: as given.
        parts: how many are written.
        images: how many images are waiting for the next part.
    """

    def __init__(self, directory: Path, parts: int = 0, chunk: int = CHUNK):
        self.directory, self.parts, self.chunk = directory, parts, chunk
        self.images = 0
        self._waiting: list[dict[str, Array]] = []

    def add(self, columns: dict[str, Array]) -> bool:
        """Add a batch; whether a part was written.

        Args:
            columns: ``[B]`` or ``[B, numbers]`` by name.

        Raises:
            OSError: a part cannot be written.
        """
        self._waiting.append(columns)
        self.images += len(columns["image"])
        return self.images >= self.chunk and self.flush()

    def flush(self) -> bool:
        """Write what is waiting; whether there was something."""
        if not self._waiting:
            return False
        arrow, parquet = _pyarrow()
        joined = {name: np.concatenate([batch[name] for batch in self._waiting]) for name in self._waiting[0]}
        table = arrow.table({name: _column(arrow, values) for name, values in joined.items()})
        content = io.BytesIO()
        parquet.write_table(table, content, compression="zstd", use_dictionary=False)
        write_whole(part_file(self.directory, self.parts), content.getvalue())
        self.parts, self.images, self._waiting = self.parts + 1, 0, []
        return True

    def finish(self, **about: Any) -> None:
        """Write what is waiting, and trace.json with what is to be said of all images."""
        self.flush()
        write_json(self.directory / INDEX, {"parts": self.parts, **about})


@dataclass(frozen=True)
class TraceFiles:
    """A finished trace.

    Attributes:
        directory: where its parts are.
        parts: how many there are.
        images: how many images.
        grid: rows and columns of the source patches.
        blocks: that reduce, 1-based.
        depth: how many blocks there are.
        kept: whether the method keeps tokens as they are.
        merges: whether it merges all others into clusters.
        cls_features: blocks whose CLS tokens are there.
        run: what the run was: reducer, keep_rate, backbone, datamodule.
    """

    directory: Path
    parts: int
    images: int
    grid: tuple[int, int]
    blocks: tuple[int, ...]
    depth: int
    kept: bool
    merges: bool
    cls_features: tuple[int, ...]
    run: dict[str, Any]

    @property
    def patches(self) -> int:
        """N0."""
        return self.grid[0] * self.grid[1]

    @property
    def columns(self) -> list[str]:
        """The names of the columns; none where there is no image."""
        _, parquet = _pyarrow()
        return list(parquet.read_schema(part_file(self.directory, 0)).names) if self.parts else []

    def read(self, columns: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Columns, a part at a time.

        Args:
            columns: their names.

        Yields:
            ``[images]`` by name, or ``[images, N0]``: labels as int64 with -1 for dropped, kept as bool; and
            ``[images, C]`` float32 of CLS tokens.

        Raises:
            ValueError: a part is missing or damaged, or has no such column.
        """
        arrow, parquet = _pyarrow()
        for number in range(self.parts):
            file = part_file(self.directory, number)
            try:
                table = parquet.ParquetFile(file).read(columns=list(columns))
            except (arrow.ArrowException, OSError) as error:
                raise ValueError(f"{file} cannot be read ({error}): evaluate anew") from None
            missing = set(columns) - set(table.column_names)
            if missing:
                raise ValueError(f"{file} has no {', '.join(sorted(missing))}")
            yield {name: self._values(name, table.column(name).combine_chunks()) for name in columns}

    def whole(self, column: str) -> Array:
        """One column of all images, as `read` has it."""
        return np.concatenate([part[column] for part in self.read([column])])

    def _values(self, name: str, column: Any) -> Array:
        kind = name.rpartition("_")[0]
        if not kind:
            return column.to_numpy(zero_copy_only=False)
        if kind == "tokens":
            return column.to_numpy(zero_copy_only=False).astype(np.int64)
        width = column.type.byte_width
        raw = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
        raw = raw.reshape(len(column), width)
        if kind == "kept":
            return np.unpackbits(raw, axis=1, count=self.patches).astype(bool)
        if kind == "cls":
            return raw.view("<f4")
        numbers = raw if width == self.patches else raw.view("<u2")
        return np.where(numbers == np.iinfo(numbers.dtype).max, -1, numbers.astype(np.int64))


def open_trace(directory: Path) -> TraceFiles:
    """A finished trace.

    Args:
        directory: of the run, or the one named trace in it.

    Returns:
        What it holds; its images are read when they are asked for.

    Raises:
        ValueError: there is none, or it is not finished.
    """
    place = directory / DIRECTORY if (directory / DIRECTORY).is_dir() else directory
    file = place / INDEX
    if not file.is_file():
        cut = any(place.glob("part-*.parquet"))
        raise ValueError(
            f"{directory} has no {'finished ' if cut else ''}trace; evaluate.py trace=true writes one"
            f"{', and with resume=auto goes on with one' if cut else ''}"
        )
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        rows, columns = known["grid"]
        blocks, features = tuple(map(int, known["blocks"])), tuple(map(int, known["cls_features"]))
        held = int(known["parts"]), int(known["images"]), (int(rows), int(columns)), blocks, int(known["depth"])
        run = {name: known["run"][name] for name in ("reducer", "keep_rate", "backbone", "datamodule")}
        return TraceFiles(place, *held, bool(known["kept"]), bool(known["merges"]), features, run)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({type(error).__name__}: {error}): evaluate anew") from None


def packed(labels: Array) -> Array:
    """[B, N0] labels, -1 for dropped, in the numbers that are written."""
    kind = np.dtype(np.uint8) if labels.shape[1] <= 254 else np.dtype("<u2")
    if labels.shape[1] > 65_534:
        raise ValueError(f"a trace holds at most 65,534 patches an image, not {labels.shape[1]:,}")
    return np.where(labels < 0, np.iinfo(kind).max, labels).astype(kind)


def part_file(directory: Path, number: int) -> Path:
    """The file of a part."""
    return directory / f"part-{number:05d}.parquet"


def _column(arrow: Any, values: Array) -> Any:
    """An Arrow array: numbers, or the bytes of each row."""
    if values.ndim == 1:
        return arrow.array(values)
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    kind = arrow.binary(rows.shape[1])
    return arrow.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, arrow.py_buffer(rows.tobytes())])


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError(MISSING) from None
    return pyarrow, parquet
