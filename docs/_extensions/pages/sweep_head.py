"""What the comment at the head of a sweep file says: what it is, how it is run, on what, and how it is shown."""

import re
from dataclasses import dataclass
from pathlib import Path

FIELDS = ("Command", "Hardware", "Table", "Figure", "Figures")
_FIELD = re.compile(rf"^({'|'.join(FIELDS)}): +(.*)$")
_BEHIND = re.compile(r"[;,] ")  # what stands behind a command on its line


@dataclass(frozen=True)
class Head:
    """The comment at the head of a sweep file.

    Attributes:
        about: what stands before the first field, one paragraph a line.
        fields: the lines of each field.
        more: what stands behind the last field, one paragraph a line.
    """

    about: str
    fields: dict[str, tuple[str, ...]]
    more: str

    def commands(self) -> tuple[str, ...]:
        """The command lines that make the runs; empty where the file needs none of its own."""
        return _commands(self.fields.get("Command", ()))

    def remarks(self) -> str:
        """What stands beside these commands."""
        lines = self.fields.get("Command", ())
        commands = set(_lines(lines))
        said = [line for line in lines if line.strip() not in commands]
        behind = [_BEHIND.split(line, maxsplit=1)[1:] for line in commands]
        return _sentence(" ".join([*(text for texts in behind for text in texts), *said]))

    def shown_by(self) -> tuple[str, ...]:
        """The commands that show the table or the figures."""
        return _commands([line for name in FIELDS[2:] for line in self.fields.get(name, ())])

    def hardware(self) -> str:
        """On what it was run, and for how long; empty where the file does not say."""
        return _sentence(" ".join(self.fields.get("Hardware", ())))


def head(file: Path) -> Head:
    """The head of a sweep file.

    Args:
        file: the file.

    Returns:
        What its comment says.
    """
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" "))
    fields: dict[str, list[str]] = {}
    about: list[str] = []
    more: list[str] = []
    current = about
    for line in lines:
        found = _FIELD.match(line)
        if found:
            current = fields.setdefault(found[1], [])
            current.append(found[2])
        elif not line.strip():
            current = more if fields else about
            current.append("")
        else:
            current.append(line.strip())
    return Head(_paragraphs(about), {name: tuple(found) for name, found in fields.items()}, _paragraphs(more))


def _lines(lines: tuple[str, ...] | list[str]) -> list[str]:
    """The lines that are, or continue, a command."""
    found, goes_on = [], False
    for line in lines:
        if line.startswith("python ") or goes_on:
            found.append(line.strip())
            goes_on = line.endswith("\\")
    return found


def _commands(lines: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    joined = "\n".join(_BEHIND.split(line, maxsplit=1)[0] for line in _lines(lines)).replace("\\\n", "\\\n    ")
    return tuple(re.findall(r"^python .*?(?<!\\)$", joined, re.M | re.S))


def _paragraphs(lines: list[str]) -> str:
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n{2,}", "\n".join(lines)) if part.strip())


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
