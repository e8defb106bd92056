"""The photographs that generated images are compared with: of each class of ImageNet's validation part the first five.

    python -m atc.diffusion.reference root=IMAGENET output=DIRECTORY

root=            a folder of ImageNet in any of the forms that datamodule=imagenet reads, or its val/ alone, or another
                 folder of class folders
output=          directory for the copies, all in one folder, byte for byte as they are
per_class=5      photographs of each class, the first ones by file name
source=folders   webdataset: tar shards; hf: parquet files that the datasets library reads

The command goes on where it was cut off. images.json in the directory says how many photographs there are to be, and
the class of each.
"""

import os
import sys
import tarfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, NamedTuple

from atc import faults
from atc.config import build, streams
from atc.diffusion import key_values
from atc.diffusion.image_directory import RECORD, SUFFIXES, read_record, write_record
from atc.files import remove_partial, write_whole
from atc.printable import printable
from atc.values import Count

SETTINGS: dict[str, tuple[Any, Any]] = {
    "root": (os.PathLike[str], ...),
    "output": (os.PathLike[str], ...),
    "per_class": (Count, 5),
    "source": (Literal["folders", "webdataset", "hf"], "folders"),
}


class Photograph(NamedTuple):
    """One of the source.

    Attributes:
        name: of its file.
        class_name: of its class, a WordNet id for ImageNet.
        entry: what `Source.open` opens.
    """

    name: str
    class_name: str
    entry: Any


class Source(NamedTuple):
    """All photographs, and how their files are opened."""

    photographs: Sequence[Photograph]
    open: Callable[[Any], BinaryIO]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 130 after Ctrl-C."""
    return streams.ended(lambda: _answer(list(sys.argv[1:] if arguments is None else arguments)))


def _answer(given: list[str]) -> int:
    if {"-h", "--help"} & set(given):
        print(__doc__)
        return 0
    try:
        for line in build_reference(**key_values.parsed(given, SETTINGS, "python -m atc.diffusion.reference")):
            print(printable(line), flush=True)
    except BrokenPipeError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, ValueError | OSError | ImportError) else None
        said = faults.told(error, "reference") or said
        if said is None:
            traceback.print_exception(error)
            return 1
        print("error:", printable(said, keep="\n"), file=sys.stderr)  # a layout on disk has several lines
        return 2
    return 0


def build_reference(
    root: str | os.PathLike[str], output: str | os.PathLike[str], per_class: int = 5, source: str = "folders"
) -> list[str]:
    """Copy the first photographs of each class, as they are, into one directory.

    Args:
        root: folder of the data set.
        output: directory to write to; what is there from an earlier call stays.
        per_class: how many of each class, the first by file name.
        source: form of the data set.

    Returns:
        What there is to say, line by line.

    Raises:
        FileNotFoundError: photographs are missing.
        ValueError: the directory holds something else; one line.
    """
    place = Path(output).expanduser()
    if place.exists() and not place.is_dir():
        raise ValueError(f"output={output} is a file, and must be a directory")
    found = _source(Path(root).expanduser(), source)
    chosen = _first(found.photographs, per_class)
    strange = sorted({path.name for path in place.iterdir()} - chosen.keys() - {RECORD}) if place.is_dir() else []
    if strange := [name for name in strange if not name.startswith(".")]:
        raise ValueError(
            f"output={output} holds {len(strange)} other files, such as {strange[0]}: give an empty directory, or the "
            "one of an earlier call with the same settings"
        )
    classes = {name: one.class_name for name, one in chosen.items()}
    if (read_record(place) or {}).get("classes") != classes:
        write_record(place, len(chosen), per_class=per_class, classes=classes)
    copied = 0
    for name, one in chosen.items():
        with found.open(one.entry) as file:
            content = file.read()
        if not _holds(place / name, content):
            write_whole(place / name, content)
            copied += 1
    remove_partial(place)
    counts = Counter(classes.values())
    said = [f"{len(chosen):,} photographs of {len(counts):,} classes in {place}, {copied:,} of them copied now"]
    if short := sum(count < per_class for count in counts.values()):
        said.append(f"{short:,} classes have fewer than {per_class} photographs")
    return said


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _first(photographs: Sequence[Photograph], per_class: int) -> dict[str, Photograph]:
    """The first of each class, under the names of their copies: their own, with the class before it where two have one.

    Sorted by class, and within a class by name.
    """
    of_class: dict[str, list[Photograph]] = {}
    for one in sorted(photographs, key=lambda one: (one.class_name, one.name)):
        of_class.setdefault(one.class_name, []).append(one)
    chosen = [one for several in of_class.values() for one in several[:per_class]]
    often = Counter(one.name for one in chosen)
    found: dict[str, Photograph] = {}
    for one in chosen:
        name, number = one.name if often[one.name] == 1 else f"{one.class_name}_{one.name}", 1
        while name in found:  # in two folders of one class
            name, number = f"{one.class_name}_{number}_{one.name}", number + 1
        if PurePath(name).suffix.lower() not in SUFFIXES:
            raise ValueError(f"{one.name} of class {one.class_name} is none of {', '.join(sorted(SUFFIXES))}")
        found[name] = one
    return found


def _source(root: Path, form: str) -> Source:
    """The photographs of a data set: a folder of class folders as it is, any other by the data set's own reading."""
    data = _data_set(root, form)
    if form == "folders" and root.is_dir() and not (root / "val").is_dir() and data.listing.has_folders(root):
        classes = data.listing.classes({"val": root})["val"]
        paths = [Photograph(PurePath(path).name, name, path) for name, several in classes.items() for path in several]
        if not paths:
            raise FileNotFoundError(f"root={root} has class folders, but no photographs in them")
        return Source(paths, data.open_entry)
    if form == "folders" and root.name == "val" and root.is_dir():  # flat, its classes in a file beside it
        data = _data_set(root.parent, form)
    entries, targets = data.released["test"]
    names = _names(entries, data.open_entry)
    numbered = zip(names, targets.tolist(), entries, strict=True)
    return Source([Photograph(name, data.classes[number], entry) for name, number, entry in numbered], data.open_entry)


def _data_set(root: Path, form: str) -> Any:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        node = compose("evaluate", ["datamodule=imagenet"]).datamodule
        return build.instantiate(node, root=str(root), source=form, transforms=None, seed=0)


def _names(entries: Sequence[Any], open_entry: Any) -> list[str]:
    """The file names of photographs: of paths, of members of shards, of rows of tables where they say so."""
    if isinstance(entries[0], str):
        return [PurePath(path).name for path in entries]
    if len(entries[0]) == 3:
        members = {shard: _members(shard) for shard in {entry[0] for entry in entries}}
        return [members[shard][offset] for shard, offset, _ in entries]
    rows: Mapping[str, Any] = open_entry.rows
    names = []
    for split, row in entries:
        path = rows[split][row]["image"].get("path")
        names.append(PurePath(path).name if path else f"{row:08d}.JPEG")
    return names


def _members(shard: str) -> dict[int, str]:
    """Names of the files of a shard, by where their bytes begin."""
    with tarfile.open(shard, "r:") as tar:
        return {member.offset_data: PurePath(member.name).name for member in tar if member.isreg()}


if __name__ == "__main__":
    sys.exit(main())
