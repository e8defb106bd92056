"""WebDataset shards, read at random: tar files with a picture and its class under each key.

The position of every picture is listed once and kept beside the shards. Training then sees the pictures in the
order of its sampler, like files, so that a run repeats and resumes exactly; the price is that shards are not read
from front to back, which suits a local disk rather than a network one.
"""

import io
import json
import os
import tarfile
import tempfile
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
    if cache.is_file():
        with np.load(cache) as known:
            if np.array_equal(known["stamp"], stamp):
                return tuple(known[name] for name in names)
    rows = [(which, *row) for which, shard in enumerate(shards) for row in _scan(shard)]
    columns = tuple(np.array(rows, dtype=np.int64).reshape(-1, 4).T)
    if os.access(cache.parent, os.W_OK):
        # Renamed into place, for several processes may do this at once.
        with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".npz", delete=False) as file:
            np.savez(file, stamp=stamp, **dict(zip(names, columns, strict=True)))
        os.replace(file.name, cache)
    return columns


def _scan(shard: Path) -> list[tuple[int, int, int]]:
    """Offset, size and class of every picture of a shard. ValueError names a key that lacks one of them."""
    pictures: dict[str, tuple[int, int]] = {}
    targets: dict[str, int] = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            folder, slash, name = member.name.rpartition("/")
            key, dot, suffix = name.partition(".")  # WebDataset: a key ends at the first dot of the file name
            key, suffix = folder + slash + key, (dot + suffix).lower()
            if suffix in PICTURES:
                pictures[key] = (member.offset_data, member.size)
            elif suffix in (".cls", ".json"):
                file = tar.extractfile(member)
                assert file is not None
                content = json.loads(file.read())
                if suffix == ".cls":
                    targets[key] = int(content)
                elif "label" in content:
                    targets.setdefault(key, int(content["label"]))
    if odd := sorted(pictures.keys() ^ targets.keys()):
        raise ValueError(f"{shard}: {len(odd)} keys without a picture or without a .cls or .json, such as {odd[0]}")
    return [(*place, targets[key]) for key, place in pictures.items()]
