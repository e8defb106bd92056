"""WebDataset shards, read at random: tar files with a picture and its class under each key.

The position of every picture is listed once and kept beside the shards. Training then sees the pictures in the
order of its sampler, like files, so that a run repeats and resumes exactly; the price is that shards are not read
from front to back, which suits a local disk rather than a network one.
"""

import fnmatch
import io
import json
import tarfile
import uuid
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from datamodules.io.decode import suffixes
from datamodules.io.files import check_regular, whole_number
from datamodules.io.layout import Layout
from datamodules.io.listing import JUNK, Listing, is_junk
from datamodules.io.pictures import MAX_BYTES
from datamodules.io.targets import Part

PATTERNS = {"train": "*train*.tar", "test": "*val*.tar"}
MAX_LABEL = 1 << 20  # bytes of a .cls or .json
_COLUMNS = ("which", "offset", "size", "target")


def list_shards(root: Path, layout: Layout, listing: Listing) -> dict[str, Part]:
    """The parts found below `root`; entries are (shard, offset, bytes).

    Args:
        root: the folder.
        layout: for messages.
        listing: what is to list the shards; it counts what is left out.

    Raises:
        LayoutError: there is no validation shard.
    """
    parts: dict[str, Part] = {}
    shards = listing.directly(root, lambda name: name.endswith(".tar"))
    for part, pattern in PATTERNS.items():
        names = [path for path in shards if fnmatch.fnmatchcase(Path(path).name, pattern)]
        if not names:
            continue
        which, offset, size, target = _index(root / f".{part}-index.npz", [Path(name) for name in names], listing)
        entries = [(names[w], int(o), int(s)) for w, o, s in zip(which, offset, size, strict=True)]
        parts[part] = (entries, torch.from_numpy(target))
    if "test" not in parts:
        raise layout.missing(f"{PATTERNS['test']} in {root}")
    return parts


def open_member(entry: tuple[str, int, int]) -> BinaryIO:
    """The picture that fills `size` bytes of a shard from `offset` on."""
    shard, offset, size = entry
    with open(shard, "rb") as file:
        file.seek(offset)
        return io.BytesIO(file.read(size))


def _index(cache: Path, shards: list[Path], listing: Listing) -> tuple[np.ndarray, ...]:
    """Shard number, offset, size and class of every picture; int64 [n] each. From the cache if that is newer."""
    stamp = np.array([(shard.stat().st_size, shard.stat().st_mtime_ns) for shard in shards])
    if (known := _known(cache, stamp)) is not None:
        return known
    rows = [(which, *row) for which, shard in enumerate(shards) for row in _scan(shard, listing)]
    columns = tuple(np.array(rows, dtype=np.int64).reshape(-1, 4).T)
    named: dict[str, Any] = dict(zip(_COLUMNS, columns, strict=True))
    # Renamed into place, for several processes may do this at once; readable by others where files are.
    partial = cache.with_name(f"{cache.stem}-{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            np.savez(file, stamp=stamp, **named)
        partial.replace(cache)
    except OSError:  # not ours to write to
        partial.unlink(missing_ok=True)
    return columns


def _known(cache: Path, stamp: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """What the cache says of these shards; None if there is none, or another's, or one that cannot be right."""
    pictures = int(stamp[:, 0].sum()) // 1024  # each takes two blocks of a shard at least
    try:
        check_regular(cache, 1 << 32)
        with zipfile.ZipFile(cache) as file:  # inflated, it is no larger than what it is a list of
            if sum(member.file_size for member in file.infolist()) > 8 * 4 * pictures + 16 * len(stamp) + 4096:
                return None
        with np.load(cache, allow_pickle=False) as known:
            if not np.array_equal(known["stamp"], stamp):
                return None
            which, offset, size, target = (known[name] for name in _COLUMNS)
    except (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile):
        return None
    if any(column.dtype != np.int64 or column.shape != which.shape for column in (which, offset, size, target)):
        return None
    if which.ndim != 1 or ((which < 0) | (which >= len(stamp)) | (offset < 0) | (size < 0) | (size > MAX_BYTES)).any():
        return None
    return which, offset, size, target


def _scan(shard: Path, listing: Listing) -> list[tuple[int, int, int]]:
    """Offset, size and class of every picture of a shard. ValueError names what is damaged or lacks one of them."""
    _check_whole(shard)
    try:
        pictures, targets = _members(shard, listing)
    except tarfile.TarError as error:
        raise ValueError(f"{shard} is damaged: {error}") from error
    if odd := sorted(pictures.keys() ^ targets.keys()):
        raise ValueError(f"{shard}: {len(odd)} keys without a picture or without a .cls or .json, such as {odd[0]}")
    return [(*place, targets[key]) for key, place in pictures.items()]


def _check_whole(shard: Path) -> None:
    """ValueError for a tar file that was cut, which tarfile takes for a shorter one, or compressed."""
    size = shard.stat().st_size
    with shard.open("rb") as file:
        file.seek(max(0, size - 1024))
        end = file.read()
    if size % 512 or end != bytes(1024):
        raise ValueError(f"{shard} is no whole, uncompressed tar file: {size:,} bytes that do not end as one does")


def _members(shard: Path, listing: Listing) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Offset and size of the pictures of a shard, and their classes, by their keys."""
    pictures: dict[str, tuple[int, int]] = {}
    targets: dict[str, int] = {}
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            folder, slash, name = member.name.rpartition("/")
            if member.isdir():
                continue
            if any(map(is_junk, member.name.removeprefix("./").split("/"))) or not member.isreg():
                listing.left_out[JUNK if member.isreg() else "links and devices in shards"] += 1
                continue
            key, dot, suffix = name.partition(".")  # WebDataset: a key ends at the first dot of the file name
            key, suffix = folder + slash + key, (dot + suffix).lower()
            limit = MAX_BYTES if suffix in suffixes() else MAX_LABEL
            if member.size > limit and (limit == MAX_BYTES or suffix in (".cls", ".json")):
                raise ValueError(
                    f"{shard}, {member.name} has {member.size:,} bytes, of which at most {limit:,} are read"
                )
            if suffix in suffixes():
                pictures[key] = (member.offset_data, member.size)
            elif suffix in (".cls", ".json"):
                file = tar.extractfile(member)
                assert file is not None  # of a regular member there is one
                target = _target(file.read(), suffix, f"{shard}, {member.name}")
                if suffix == ".cls" and target is not None:
                    targets[key] = target
                elif target is not None:
                    targets.setdefault(key, target)
    return pictures, targets


def _target(content: bytes, suffix: str, where: str) -> int | None:
    """The class that a .cls is, or a .json has under "label"; None for a .json without."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} holds no class: {error}") from error
    if suffix == ".json":
        if not isinstance(found, dict):
            raise ValueError(f"{where} holds no class: expected an object with a label, found {str(found)[:80]!r}")
        if "label" not in found:
            return None
        found = found["label"]
    return whole_number(found, f"{where} holds no class")
