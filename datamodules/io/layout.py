"""Where the files of a data set have to be, checked before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from datamodules.io.files import printable


class LayoutError(FileNotFoundError):
    """Files of a data set are not where they should be; the message is complete and meant to be read as it is."""


class RootError(LayoutError):
    """datamodule.root leads to no such data set at all: a mistake, rather than data that are incomplete."""


@dataclass(frozen=True)
class Layout:
    """What a data set needs below its root folder.

    name: of the data set; needs: paths below the root, in the order they are looked for; a name that ends in /
    is a folder. source: where to get it; tree: the whole layout, as shown to somebody who lacks a part of it.
    """

    name: str
    needs: Sequence[str]
    source: str
    tree: str

    def check(self, root: str | PathLike[str] | None) -> Path:
        """The root as a path; LayoutError names the first thing missing, where to get it and the tree expected."""
        if root is None or not str(root):
            raise self.missing("a folder: datamodule.root is not set", RootError)
        path = Path(str(root)).expanduser()
        if not path.is_dir():
            what = ", which is a file" if path.exists() else ""
            raise self.missing(f"the folder {path}{what}", RootError)
        for need in self.needs:
            found = (path / need).is_dir() if need.endswith("/") else (path / need).is_file()
            if not found:
                raise self.missing(f"{need} in {path}")
        return path

    def missing(self, what: str, kind: type[LayoutError] = LayoutError) -> LayoutError:
        """The error, of class `kind`, that says `what` is not there."""
        tree = "\n".join(f"  {line}" for line in self.tree.strip("\n").splitlines())
        return kind(
            f"{self.name} is missing {printable(what)}\nexpected (datamodule.root=PATH or paths.data=PARENT):\n{tree}\n"
            f"from: {self.source}"
        )
