"""Features of images kept on disk by the digest of the image's file, so that no image passes a network twice."""

import hashlib
import io
import os
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atc.files import write_whole

_BYTES = 32  # of a SHA-256


def default_directory() -> Path:
    """features/ in the directory of ATC_CACHE, else in ~/.cache/atc; XDG_CACHE_HOME is respected."""
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(shared):
        shared = os.path.expanduser("~/.cache")
    return Path(os.environ.get("ATC_CACHE") or os.path.join(shared, "atc")) / "features"


class FeatureCache:
    """Features of one network, by digest.

    Files are added, never changed, so that several processes can share a directory; one that is damaged, or of another
    network, is passed over.

    Args:
        directory: of the features of all networks.
        identity: of what decides about features: network, weights, resizer.
        features: how many numbers an image has.
    """

    def __init__(self, directory: str | os.PathLike[str], identity: str, features: int):
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self.place, self.features = Path(directory).expanduser() / name, features
        self.rows: dict[str, NDArray[np.float32]] = {}

    def read(self) -> dict[str, NDArray[np.float32]]:
        """All features that are there, float32 [d], by digest."""
        for path in sorted(self.place.glob("*.npz")):
            self.rows.update(_read(path, self.features))
        return self.rows

    def add(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep the features of further images."""
        if not rows:
            return
        digests = np.frombuffer(bytes.fromhex("".join(rows)), dtype=np.uint8).reshape(-1, _BYTES)
        content = io.BytesIO()
        np.savez(content, digests=digests, features=np.stack(list(rows.values())))
        write_whole(self.place / f"{uuid.uuid4().hex}.npz", content.getvalue())
        self.rows.update(rows)


def _read(path: Path, features: int) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            digests, rows = file["digests"], file["features"]
    except (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile):
        return {}
    if digests.dtype != np.uint8 or digests.shape != (len(rows), _BYTES) or rows.dtype != np.float32:
        return {}
    if rows.shape[1:] != (features,) or not np.isfinite(rows).all():
        return {}
    return {digest.tobytes().hex(): row for digest, row in zip(digests, rows, strict=True)}
