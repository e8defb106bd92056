"""Files that a command writes: whether there is a place for them, and that none is a file that the command reads."""

import os
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from atc.files import same_file

_FILES = ("image", "images", "backbone.checkpoint")


def check_place(said: str, path: Path) -> None:
    """Refuse a path in a directory that is missing or takes no files.

    Args:
        said: the setting and its value, for the message.
        path: the file to write.

    Raises:
        OSError: nothing can be written there; one line.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{said}: there is no directory {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{said} is a directory: name the file to write in it")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{said}: the directory {path.parent} cannot be written to")


def check_kept(said: str, path: Path, cfg: DictConfig) -> None:
    """Refuse to overwrite an image, weights, or a file in a folder of images.

    Args:
        said: the setting and its value, for the message.
        path: the file to write.
        cfg: the settings of the command, which name what it reads.

    Raises:
        ValueError: the command reads the file; one line.
    """
    files = [(key, _of(cfg, key)) for key in _FILES]
    files += [("more_images", one) for one in cfg.get("more_images") or []]
    folders = [("images", _of(cfg, "images")), ("the data set", _of(cfg, "datamodule.root"))]
    check_not_read(said, path, files, folders)


def check_not_read(
    said: str, path: Path, files: Iterable[tuple[str, object]], folders: Iterable[tuple[str, object]]
) -> None:
    """Refuse to overwrite what is read.

    Args:
        said: the setting and its value, for the message.
        path: the file to write.
        files: settings and the files that they name; None for none.
        folders: what lies in folders, and these; none of the files in them is overwritten.

    Raises:
        ValueError: one line.
    """
    for key, read in files:
        if read is not None and same_file(Path(str(read)).expanduser(), path):
            raise ValueError(f"{said} is the file of {key}={read}, which would be overwritten: choose another name")
    for what, folder in folders:
        if folder is not None and path.exists() and _is_in(path, Path(str(folder)).expanduser()):
            raise ValueError(f"{said} is a file of {what} in {folder}, which would be overwritten: choose another name")


def _of(cfg: DictConfig, key: str) -> object:
    """The value of a setting; None where a command or a group lacks it."""
    group, _, leaf = key.rpartition(".")
    node = cfg.get(group) if group else cfg
    return node.get(leaf) if OmegaConf.is_dict(node) else None


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
