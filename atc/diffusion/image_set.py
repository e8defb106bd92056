"""A directory of generated images: which are wanted, which are there, how each was made, who makes the next one."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image, PngImagePlugin

from atc.diffusion.prompts import Wanted
from atc.files import json_text, remove_partial, whole_file, write_json
from atc.values import shown

log = logging.getLogger(__name__)

KEY = "atc"  # of the text in a PNG that says how it was made
MANIFEST = "images.json"
CLAIMS = ".claims"
WAIT = 0.5  # seconds between looks at images that other processes make


@dataclass(frozen=True)
class ImageSet:
    """The images of a run.

    Attributes:
        directory: where they are.
        wanted: what each is made from.
        settings: all else that decides how they look, as plain data.
    """

    directory: Path
    wanted: Sequence[Wanted]
    settings: Mapping[str, Any]

    def path(self, one: Wanted) -> Path:
        """Where an image is, or is to be."""
        return self.directory / one.file

    def missing(self, of: Sequence[Wanted] | None = None) -> list[Wanted]:
        """The images that are not there yet, of all or of some."""
        return [one for one in (self.wanted if of is None else of) if not self.path(one).is_file()]

    def made_from(self, one: Wanted) -> dict[str, Any]:
        """What the text in an image has to say."""
        own = {"prompt": one.prompt, "seed": one.seed, "class": one.class_name}
        return dict(json.loads(json_text({**own, "settings": self.settings})))

    def about(self) -> list[dict[str, Any]]:
        """What the images that are there say of themselves, in their order."""
        return [read_about(self.path(one)) for one in self.wanted if self.path(one).is_file()]

    def check(self, more: Mapping[str, Any] | None = None) -> None:
        """Refuse a directory with images that do not belong to this run.

        Args:
            more: what else the text of each has to say, such as the precision.

        Raises:
            ValueError: an image is made otherwise, or is none of this run's; one line that names it.
            OSError: the directory is none.
        """
        if self.directory.exists() and not self.directory.is_dir():
            raise NotADirectoryError(f"images={self.directory} is a file, and must be a directory")
        if not self.directory.is_dir():
            return
        wanted = {one.file: one for one in self.wanted}
        strange = sorted(path.name for path in self.directory.iterdir() if self._is_strange(path, wanted))
        if strange:
            others = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            raise ValueError(
                f"{self.directory} holds {shown(strange[0])}{others}, which this run does not make: give another "
                "directory, images=DIRECTORY, or remove what is there"
            )
        for name, one in wanted.items():
            if not (self.directory / name).is_file():
                continue
            there, right = read_about(self.directory / name), {**self.made_from(one), **(more or {})}
            for key, value in flat(right).items():
                found = flat(there).get(key)
                if found != value:
                    raise ValueError(
                        f"{self.directory / name} was made with {key}={shown(found)} instead of {shown(value)}: give "
                        "another directory, images=DIRECTORY, or remove what is there"
                    )
            surplus = [key for key in flat(there) if key.startswith("settings.") and key not in flat(right)]
            if surplus:
                raise ValueError(
                    f"{self.directory / name} was made with {surplus[0]}={shown(flat(there)[surplus[0]])}, which this "
                    "run does not set: give another directory, images=DIRECTORY, or remove what is there"
                )

    def _is_strange(self, path: Path, wanted: Mapping[str, Wanted]) -> bool:
        return path.name not in wanted and path.name != MANIFEST and not path.name.startswith(".")

    def write_manifest(self) -> None:
        """Say in the directory how many images it will have, and how they are made."""
        write_json(self.directory / MANIFEST, {"images": len(self.wanted), "settings": self.settings})

    def complete(self, make: Callable[[Wanted], None], own: Sequence[Wanted], *, wait: bool = True) -> int:
        """Make what is missing, but for what another process is at; see to it that all of it is made in the end.

        Args:
            make: makes an image and writes it.
            own: the images that this process cares for.
            wait: return when they are all there, and not before.

        Returns:
            How many this process made.
        """
        made = 0
        while todo := self.missing(own):
            before = made
            for one in todo:
                with self.claimed(one) as mine:
                    if mine and not self.path(one).is_file():
                        make(one)
                        made += 1
            if not wait and made == before:
                break
            if made == before:
                time.sleep(WAIT)
        return made

    @contextmanager
    def claimed(self, one: Wanted) -> Iterator[bool]:
        """Keep other processes from making an image until the block ends; False where one of them is at it.

        The operating system drops the claim with the process that holds it.
        """
        path = self.directory / CLAIMS / f"{one.file}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except (OSError, NotImplementedError) as error:
            log.warning("%s cannot be locked (%s): two processes may make one image", path, error)
            yield True
            return
        try:
            yield True
        finally:
            if self.path(one).is_file():  # one that waited for the lock finds the image
                with suppress(OSError):
                    path.unlink()
            lock.release(force=True)

    def tidy(self) -> None:
        """Remove what processes that were killed have left, once all images are there."""
        remove_partial(self.directory)
        with suppress(OSError):
            for lock in (self.directory / CLAIMS).glob("*.lock"):
                lock.unlink()
            (self.directory / CLAIMS).rmdir()


def save(image: Image.Image, path: Path, about: Mapping[str, Any]) -> None:
    """Write an image as a PNG, whole or not at all.

    Args:
        image: the image.
        path: where to.
        about: how it was made; kept in the file as text.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", str(about.get("prompt", "")).encode("ascii", "backslashreplace").decode())
    text.add_itxt(KEY, json_text(about, indent=None).strip())
    with whole_file(path) as file:
        image.save(file, format="PNG", pnginfo=text)


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """How an image was made, from the text in its file.

    Args:
        path: a PNG that `save` wrote.

    Returns:
        What `save` was given.

    Raises:
        ValueError: it is no PNG, or has no such text; one line.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(KEY)
        found = json.loads(text) if isinstance(text, str) else None
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        raise ValueError(f"{path} is no image of python -m atc.diffusion.generate: remove it ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} does not say how it was made, as images of python -m atc.diffusion.generate do")
    return found


def flat(about: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in about.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found
