"""What a configuration that was saved by a run, here or elsewhere, may say: data, and nothing that acts.

A run directory may come from anybody. What it names is built only if a file of this machine's configuration tree, or
the present command line, names it too; of its interpolations, references within it are followed and nothing else.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.config import local_conf
from atc.received import shown

Keys = tuple[str, ...]
_NAME = r"\.*\w[\w-]*(?:\.[\w-]+|\[\w+\])*"
_REFERENCE = re.compile(_NAME)
_SELECT = re.compile(rf"oc\.select:({_NAME})(?:,[\w\x00 ./-]*)?")
# A folder named ${x}, as the command line writes it; anywhere else such text might be resolved a second time.
_ESCAPED = re.compile(r"(?<!\\)\\\$\{[^${}:\\]*\}")
_FOLDERS = (("datamodule", "root"), ("paths", "data"))
_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_READ = "\x00"  # stands for an interpolation that was read
# What a training writes to, and what is sent elsewhere.
WRITERS = ("trainer", "logger", "callbacks")
# Of the settings that the configuration files do not list, those that take a text but neither fetch nor send.
_LOGGED = {"tags", "notes", "job_type", "id", "version", "prefix", "flush_logs_every_n_steps", "log_graph", "sub_dir"}
_REFUSED = {
    "compile": {"options"},  # PyTorch's, which name the compilers that are run
    "backbone": {"checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"},
    "trainer": {"plugins", "model_registry"},
}
_WHERE = {"dirpath", "save_dir", "default_root_dir", "root_dir", "dir", "path"}
# Local ones, which a saved configuration may refer to.
_SHARED = {"paths", "output_dir", "sweep", "choices"}


def check(merged: DictConfig, composed: DictConfig, taken: set[str], said: Collection[str], file: Path) -> None:
    """Refuse what a saved configuration must not say.

    Args:
        merged: the saved configuration under the command line's settings.
        composed: what the configuration files and the command line compose.
        taken: the top-level keys that are the saved configuration's.
        said: the dotted keys that the command line says, whose values are the user's own.
        file: the saved configuration, for the message.

    Raises:
        ValueError: one line that names the setting.
    """
    known = local_conf.LocalConf()
    known.add(OmegaConf.to_container(composed, resolve=False))
    try:
        _check(merged, known, taken, said, file)
    except ValueError:  # what this command composes does not name it: another option of a group may
        known.add_files()
        _check(merged, known, taken, said, file)


def _check(merged: DictConfig, known: local_conf.LocalConf, taken: set[str], said: Collection[str], file: Path) -> None:
    plain = OmegaConf.to_container(merged, resolve=False)
    assert isinstance(plain, dict)
    own = {tuple(key.split(".")) for key in said}
    checker = _Checker(plain, known, own, taken, merged.get("output_dir"), file)
    for key in sorted(taken):
        checker.visit(plain.get(key), (key,))
    for key in sorted(taken & set(WRITERS)):  # what they refer to is harmless to resolve now
        node = merged.get(key)
        checker.places(OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node, (key,))
    choices = plain.get("choices")
    if "choices" in taken and not (isinstance(choices, dict) and all(_is_choice(value) for value in choices.values())):
        raise ValueError(f"{file}: choices={shown(choices)} must map each group to the name of its option")


def _is_choice(value: Any) -> bool:
    return value is None or (isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) is not None)


class _Checker:
    def __init__(
        self,
        plain: dict[Any, Any],
        known: local_conf.LocalConf,
        own: set[Keys],
        taken: set[str],
        output_dir: str | None,
        file: Path,
    ):
        self.plain, self.known, self.own, self.taken, self.file = plain, known, own, taken, file
        self.output_dir = Path(output_dir or ".").absolute()

    def visit(self, node: Any, at: Keys) -> None:
        """Check all that is at and below a place, but for what the command line says."""
        if at in self.own:
            return
        if isinstance(node, dict):
            self._mapping(node, at)
            for key, value in node.items():
                self.visit(value, (*at, str(key)))
        elif isinstance(node, list):
            for place, value in enumerate(node):
                self.visit(value, (*at, str(place)))
        elif isinstance(node, str):
            self._text(node, at)

    def _refuse(self, at: Keys, value: Any, why: str, say: bool = True) -> None:
        key = ".".join(at)
        allow = f"; if it is meant, say {shown(key)}=... on the command line" if say else ""
        raise ValueError(f"{self.file}: {shown(key)}={shown(value)} is refused: {why}{allow}")

    def _mapping(self, node: dict[Any, Any], at: Keys) -> None:
        group, special = at[0], local_conf.signature(node)
        if special:
            target = node.get(local_conf.SPECIAL)
            known = self.known.constructors[group]
            if special not in known:
                names = f"no file of conf/{group}, or of --config-dir, names it"
                same = [text for text in known if f'"{local_conf.SPECIAL}": "{target}"' in text]
                if same:
                    odd = sorted(key for key in map(str, node) if key.startswith("_") and key.endswith("_"))
                    self._refuse(at, {key: node[key] for key in odd}, f"with these values {names}")
                self._refuse(
                    (*at, local_conf.SPECIAL), target, f"a received file may not choose what is built, and {names}"
                )
        listed = self.known.settings[group, str(node.get(local_conf.SPECIAL))]
        for key in map(str, node):
            if (*at, key) in self.own or key in listed:
                continue
            if key in _REFUSED.get(group, ()):
                self._refuse((*at, key), node[key], "a received file may not set it")
            if group == "logger" and len(at) == 1 and key not in _LOGGED:
                self._refuse((*at, key), node[key], "a received file may not say where a log is sent")

    def _text(self, text: str, at: Keys) -> None:
        if text not in self.known.texts[at]:
            for name in self._references(text, at):
                self._follow(name, at, text, set())

    def _references(self, text: str, at: Keys) -> list[str]:
        """What the interpolations of a text refer to; refuses all that are no references."""
        names: list[str] = []
        rest = _ESCAPED.sub(_READ, text) if at in _FOLDERS else text
        while found := _INNERMOST.search(rest):
            said = found[1]
            select = _SELECT.fullmatch(said)
            if select or _REFERENCE.fullmatch(said):
                names.append(select[1] if select else said)
            else:
                name = said.split(":")[0] if ":" in said else said
                self._refuse(
                    at, text, f"of a received file, ${{{name.replace(_READ, '')}:...}} is not resolved", say=False
                )
            rest = rest[: found.start()] + _READ + rest[found.end() :]
        odd = "${" in rest or text.endswith("$") or (names and set(rest) & set("${}\\"))
        if odd:
            self._refuse(at, text, "of a received file, only plain references ${...} are resolved", say=False)
        return names

    def _follow(self, name: str, at: Keys, text: str, seen: set[Keys]) -> None:
        """Refuse a reference that does not end at a plain value of the file."""
        up = len(name) - len(name.lstrip("."))
        keys = tuple(part for part in re.split(r"[.\[\]]+", name) if part)
        if up > len(at):
            self._refuse(at, text, "it refers to nothing", say=False)
        place = (*at[: len(at) - up], *keys) if up else keys
        if not place or (place[0] not in self.taken and place[0] not in _SHARED):
            self._refuse(at, text, f"it refers to {shown(name)}, which is not in the file", say=False)
        if place[0] == "paths" or place in seen:
            return
        node: Any = self.plain
        for part in place:
            if isinstance(node, dict):
                # A key of a mapping may be a number.
                node = node.get(part, node.get(int(part)) if part.isdecimal() else None)
            elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, str) and "${" in node:
                self._refuse(at, text, "it refers to a part of another reference", say=False)
            else:
                return  # there is nothing: for OmegaConf to say
        if isinstance(node, dict) or (isinstance(node, list) and any(isinstance(v, (dict, list)) for v in node)):
            self._refuse(at, text, "it refers to a group of settings, not to a value", say=False)
        if isinstance(node, list):
            inner = [value for value in node if isinstance(value, str)]
        else:
            inner = [node] if isinstance(node, str) else []
        for value in inner:
            for further in self._references(value, place):
                self._follow(further, place, text, {*seen, place})

    def places(self, node: Any, at: Keys) -> None:
        """Refuse to write outside of the run's directory; on values, not on what they are made of."""
        if at in self.own:
            return
        children: Iterable[tuple[Any, Any]] = ()
        if isinstance(node, dict):
            children = node.items()
        elif isinstance(node, list):
            children = enumerate(node)
        elif isinstance(node, str):
            path = Path(node)
            outside = ".." in path.parts or "://" in node or node.startswith("~")
            if path.is_absolute() or at[-1] in _WHERE:
                outside |= not path.absolute().is_relative_to(self.output_dir)
            if outside:
                self._refuse(at, node, "a received file may not name a place outside of the run's directory")
        for key, value in children:
            self.places(value, (*at, str(key)))
