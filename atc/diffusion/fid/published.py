"""Where the published weights of Inception are."""

import os
from pathlib import Path

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
_HASH = "6726825d"  # with which the SHA-256 of both begins


def where_from() -> str:
    """Where to get the weights, for a message."""
    return f"get {URL} and give weights=FILE"


def given_file(weights: str | os.PathLike[str]) -> Path:
    """The file that a user names. FileNotFoundError, with where to get it, if there is none."""
    path = Path(weights).expanduser()
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"weights={weights} {what} (looked from {Path.cwd()}): {where_from()}")
    return path


def find_weights(weights: str | os.PathLike[str] | None = None) -> Path:
    """The file of the weights.

    Args:
        weights: the file; None: that of PyTorch's hub, which is downloaded once.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: there is no such file, and none could be downloaded; one line with where to get it.
    """
    if weights is not None:
        return given_file(weights)
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    try:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise OSError("HF_HUB_OFFLINE is set")
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(folder / FILES[0]), hash_prefix=_HASH)
    except (OSError, RuntimeError) as error:  # no network, no room, or another file than its name says
        raise FileNotFoundError(
            f"{folder} holds no weights of Inception, and they cannot be downloaded ({error}): {where_from()}"
        ) from error
    return folder / FILES[0]
