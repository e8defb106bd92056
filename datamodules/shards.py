"""WebDataset shards, read at random: tar files with a picture and its class under each key.

The position of every picture is listed once and kept beside the shards. Training then sees the pictures in the
order of its sampler, like files, so that a run repeats and resumes exactly; the price is that shards are not read
from front to back, which suits a local disk rather than a network one.
"""

import io
import json
import tarfile
import uuid
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datamodules.base import Part
from datamodules.layout import Layout

PATTERNS = {"train": "*train*.tar", "test": "*val*.tar"}
PICTURES = (".jpg", ".jpeg", ".png")


def list_shards(root: Path, layout: Layout) -> dict[str, Part]:
    """The parts found below `root`; entries are (shard, offset, bytes). LayoutError without a validation shard."""
    parts = {}
    for part, pattern in PATTERNS.items():
        shards = sorted(root.glob(pattern))
        if not shards:
            continue
        which, offset, size, target = _index(root / f".{part}-index.npz", shards)
        names = [str(shard) for shard in shards]
        entries = [(names[w], int(o), int(s)) for w, o, s in zip(which, offset, size, strict=True)]
        parts[part] = (entries, torch.from_numpy(target))
    if "test" not in parts:
        raise layout.missing(f"{PATTERNS['test']} in {root}")
    return parts


def read_member(entry: tuple[str, int, int]) -> Image.Image:
    """The picture that fills `size` bytes of a shard from `offset` on."""
    shard, offset, size = entry
    with open(shard, "rb") as file:
        file.seek(offset)
        return Image.open(io.BytesIO(file.read(size))).convert("RGB")


def _index(cache: Path, shards: list[Path]) -> tuple[np.ndarray, ...]:
    """Shard number, offset, size and class of every picture; int64 [n] each. From the cache if that is newer."""
    stamp = np.array([(shard.stat().st_size, shard.stat().st_mtime_ns) for shard in shards])
    names = ("which", "offset", "size", "target")
    try:
        with np.load(cache) as known:
            if np.array_equal(known["stamp"], stamp):
                return tuple(known[name] for name in names)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, another's or damaged: listed anew
        pass
    rows = [(which, *row) for which, shard in enumerate(shards) for row in _scan(shard)]
    columns = tuple(np.array(rows, dtype=np.int64).reshape(-1, 4).T)
    # Renamed into place, for several processes may do this at once; readable by others where files are.
    partial = cache.with_name(f"{cache.stem}-{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            np.savez(file, stamp=stamp, **dict(zip(names, columns, strict=True)))
        partial.replace(cache)
    except OSError:  # not ours to write to
        partial.unlink(missing_ok=True)
    return columns


def _scan(shard: Path) -> list[tuple[int, int, int]]:
    """Offset, size and class of every picture of a shard. ValueError names what is damaged or lacks one of them."""
    _check_whole(shard)
    try:
        pictures, targets = _members(shard)
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


def _members(shard: Path) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Offset and size of the pictures of a shard, and their classes, by their keys."""
    pictures: dict[str, tuple[int, int]] = {}
    targets: dict[str, int] = {}
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            folder, slash, name = member.name.rpartition("/")
            key, dot, suffix = name.partition(".")  # WebDataset: a key ends at the first dot of the file name
            key, suffix = folder + slash + key, (dot + suffix).lower()
            if suffix in PICTURES:
                pictures[key] = (member.offset_data, member.size)
            elif suffix in (".cls", ".json"):
                file = tar.extractfile(member)
                assert file is not None
                try:
                    content = json.loads(file.read())
                    if suffix == ".cls":
                        targets[key] = int(content)
                    elif "label" in content:
                        targets.setdefault(key, int(content["label"]))
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{shard}, {member.name} holds no class: {error}") from error
    return pictures, targets
