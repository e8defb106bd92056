"""Class folders and the pictures in them: every real folder once, and none of what other programs leave behind."""

import errno
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from datamodules.io.decode import suffixes
from datamodules.io.files import is_hub_link, printable

JUNK = "names of other programs (beginning with . @ # $ or __)"
SPECIAL = "FIFOs, sockets or devices"
LOOPS = "links to folders that are listed already"
DANGLING = "links that lead nowhere"
LOOSE = "pictures in no class folder"
OTHER = "files of other types"  # with their suffixes

_JUNK = re.compile(r"[.@#$]|__|(lost\+found|System Volume Information|Icon\r)$")


def is_junk(name: str) -> bool:
    """Whether a name is one that desktops, archivers, notebooks or network storage leave: neither class nor picture."""
    return _JUNK.match(name) is not None


def is_picture(name: str) -> bool:
    """Whether a file is a picture that is read, by its name."""
    return os.path.splitext(name)[1].lower() in suffixes()


class Listing:
    """What lies in the folders of one data set.

    Links are followed, and every real folder is listed once: under its own path rather than a link's, and never where
    a link leads back to a folder above. So no picture counts twice, and none is in two parts.

    Args:
        follow_links: False refuses links.

    Attributes:
        left_out: how many names were passed over, by kind.
        looped: the first link to a folder that is listed already.
    """

    def __init__(self, follow_links: bool = True):
        self.follow_links = follow_links
        self.left_out: Counter[str] = Counter()
        self.looped: str | None = None
        self._seen: set[tuple[int, int]] = set()

    def classes(self, folders: Mapping[str, Path]) -> dict[str, dict[str, list[str]]]:
        """The pictures of each class of each part, in the order of torchvision's ImageFolder.

        Args:
            folders: the folder of each part, in which each folder is a class.

        Returns:
            By part and class, both in the order given or sorted, the paths; an empty list for a class without pictures.

        Raises:
            ValueError: a link where they are refused, or two parts that are one folder.
            OSError: a folder cannot be listed.
        """
        real: dict[tuple[int, int], str] = {}
        for part, folder in folders.items():
            self._refuse(folder)
            if (known := real.setdefault(_identity(folder), part)) != part:
                raise ValueError(
                    f"{folder} and {folders[known]} are the same folder: its pictures cannot be in both parts"
                )
            self._seen.update(map(_identity, (folder, *Path(os.path.realpath(folder)).parents)))
        owners = [(part, entry) for part, folder in folders.items() for entry in self._class_folders(folder)]
        owners.sort(key=lambda owner: owner[1].is_symlink())  # a folder's own place counts before a link to it
        found: dict[tuple[str, str], list[tuple[str, list[str]]]] = {}
        for part, entry in owners:
            if self._enter(entry.path):
                found[part, entry.name] = []
        # Real folders first, then what links lead to: a folder belongs to the class it lies in.
        links = [(key, link) for key in found for link in self._walk(str(folders[key[0]] / key[1]), found[key])]
        for key, link in sorted(links, key=lambda item: item[1]):
            waiting = [link]
            while waiting:
                if self._enter(path := waiting.pop(0)):
                    waiting += self._walk(path, found[key])
        return {
            part: {
                name: [
                    os.path.join(folder, file) for folder, files in sorted(found[part, name]) for file in sorted(files)
                ]
                for name in sorted(name for owner, name in found if owner == part)
            }
            for part in folders
        }

    def directly(self, folder: Path, wanted: Callable[[str], bool] = is_picture) -> list[str]:
        """The files that lie directly in a folder, sorted.

        Args:
            folder: the folder.
            wanted: whether a name is that of such a file.
        """
        self._refuse(folder)
        return sorted(entry.path for entry in self._entries(folder) if self._kind(entry, wanted) == "file")

    def below(self, folder: Path, wanted: Callable[[str], bool] = is_picture) -> list[str]:
        """The files anywhere below a folder, sorted.

        Args:
            folder: the folder.
            wanted: whether a name is that of such a file.
        """
        found: list[tuple[str, list[str]]] = []
        waiting = [str(folder)]
        self._seen.update(map(_identity, Path(os.path.realpath(folder)).parents))
        while waiting:
            if self._enter(path := waiting.pop(0)):
                waiting += self._walk(path, found, wanted)
        return sorted(os.path.join(here, file) for here, files in found for file in files)

    def has_folders(self, folder: Path) -> bool:
        """Whether there are folders in a folder which could be classes."""
        with os.scandir(folder) as entries:
            return any(entry.is_dir() and not is_junk(entry.name) for entry in entries)

    def _class_folders(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        for entry in self._entries(folder):
            kind = self._kind(entry)
            if kind == "folder":
                yield entry
            elif kind == "file":
                self.left_out[LOOSE] += 1

    def _walk(
        self, folder: str, found: list[tuple[str, list[str]]], wanted: Callable[[str], bool] = is_picture
    ) -> list[str]:
        """Add the files below a folder, by the folder they are in, to `found`; the links met to other folders."""
        links, waiting = [], [folder]
        while waiting:
            here, files = waiting.pop(), []
            for entry in self._entries(here):
                kind = self._kind(entry, wanted)
                if kind == "file":
                    files.append(entry.name)
                elif kind == "folder" and entry.is_symlink():
                    links.append(entry.path)
                elif kind == "folder" and self._enter(entry.path):
                    waiting.append(entry.path)
            found.append((here, files))
        return sorted(links)

    def _entries(self, folder: str | Path) -> Iterator[os.DirEntry[str]]:
        """What is in a folder, but for what other programs leave. ValueError for a link where they are refused."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_junk(entry.name):
                    self.left_out[JUNK] += 1
                    continue
                if entry.is_symlink():
                    self._refuse(entry.path)
                yield entry

    def _kind(self, entry: os.DirEntry[str], wanted: Callable[[str], bool] = is_picture) -> str | None:
        """Whether an entry is a "folder" or a "file" that is wanted; None, and counted, for anything else."""
        if _is_dir(entry):
            return "folder"
        if entry.is_file() if not entry.is_symlink() else os.path.isfile(entry.path):
            if wanted(entry.name):
                return "file"
            suffix = os.path.splitext(entry.name)[1].lower()
            self.left_out[f"{OTHER}{f' ({suffix})' if suffix[1:].isalnum() and len(suffix) < 8 else ''}"] += 1
        elif entry.is_symlink() and not os.path.exists(entry.path):
            # A picture that is missing is missed; one that leads in a circle was never there.
            if wanted(entry.name) and _is_missing(entry.path):
                return "file"
            self.left_out[DANGLING] += 1
        else:
            self.left_out[SPECIAL] += 1
        return None

    def _enter(self, path: str) -> bool:
        """Whether a folder is to be listed: it has not been, and does not lie above the link that leads to it."""
        identity = _identity(path)
        above = os.path.islink(path) and os.path.realpath(os.path.dirname(path)).startswith(
            os.path.join(os.path.realpath(path), "")
        )
        if above or identity in self._seen:
            self.left_out[LOOPS] += 1
            self.looped = self.looped or printable(path)
            return False
        self._seen.add(identity)
        return True

    def _refuse(self, path: str | Path) -> None:
        if not self.follow_links and os.path.islink(path) and not is_hub_link(path):
            raise ValueError(f"{path} is a link, which datamodule.follow_links=false refuses")


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_missing(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR)
    return False


def _identity(path: str | Path) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_dev, state.st_ino
