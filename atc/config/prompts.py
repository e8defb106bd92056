"""The file of task.prompts: what each class is called, and in which sentences.

A line per class and template: name, tab, template, such as ``goldfish<TAB>a photo of a {}.``; ``{}`` is where the name
goes. Classes stand in the order of the data set's. Several lines of one name are several templates for it.
"""

import hashlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from atc.values import shown

PLACE = "{}"  # of the name in a template
LARGEST = 1 << 26  # bytes: room for 80 templates of 10,000 classes
_FORM = "a line is NAME<TAB>TEMPLATE, as in goldfish<TAB>a photo of a {}."


class Prompts(NamedTuple):
    """What a prompts file says.

    Attributes:
        texts: by the name of a class, its sentences; in the order of the file.
        sha256: of the file's bytes, in hexadecimal digits.
    """

    texts: Mapping[str, tuple[str, ...]]
    sha256: str

    def described(self) -> dict[str, Any]:
        """What a record says of them."""
        count = sum(map(len, self.texts.values()))
        return {"sha256": self.sha256, "classes": len(self.texts), "texts": count}


def read(file: str | PathLike[str]) -> Prompts:
    """Read a prompts file.

    Args:
        file: its path.

    Returns:
        The sentences of every class.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no prompts file; one line with the file, and the number of the line that is wrong.
    """
    said, path = f"task.prompts={shown(str(file))}", Path(file).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{said}: there is no such file (looked from {Path.cwd()})")
    if not path.is_file():
        raise ValueError(f"{said} is no regular file; it must be a text file, in which {_FORM}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{said} has {path.stat().st_size / 2**20:.0f} MB, and at most {LARGEST // 2**20} are read")
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{said} is no text in UTF-8 (byte {error.start}); {_FORM}") from error
    texts: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            name, text = _sentence(line.rstrip("\r"), f"{said}, line {number}")
            if text in texts.setdefault(name, []):
                raise ValueError(f"{said}, line {number} repeats '{shown(text)}' for the class '{shown(name)}'")
            texts[name].append(text)
    if not texts:
        raise ValueError(f"{said} is empty; {_FORM}")
    return Prompts({name: tuple(own) for name, own in texts.items()}, hashlib.sha256(content).hexdigest())


def check_classes(prompts: Prompts, num_classes: int, file: str, datamodule: str) -> None:
    """Refuse a prompts file of other classes than the data set has.

    Args:
        prompts: of the file.
        num_classes: of the data set.
        file: its path, for the message.
        datamodule: the data set's name, for the message.

    Raises:
        ValueError: there are more or fewer names than classes.
    """
    if len(prompts.texts) != num_classes:
        raise ValueError(
            f"task.prompts={shown(file)} names {len(prompts.texts)} classes, and datamodule={datamodule} has "
            f"{num_classes}: one name for each class, in the data set's order, and no two classes of one name"
        )


def _sentence(line: str, where: str) -> tuple[str, str]:
    """The name of the class and the sentence that a line says."""
    parts = line.split("\t")
    if len(parts) != 2:
        found = "no tab" if len(parts) == 1 else f"{len(parts) - 1} tabs"
        raise ValueError(f"{where} has {found}: {shown(line)}; {_FORM}")
    name, template = (part.strip() for part in parts)
    if not name:
        raise ValueError(f"{where} names no class before its tab: {shown(line)}; {_FORM}")
    if PLACE not in template:
        raise ValueError(f"{where}: the template '{shown(template)}' has no {PLACE}, where the name goes; {_FORM}")
    return name, template.replace(PLACE, name)
