"""Which images a table is made of: for each class its name, its sentence, and the seed of each image."""

import hashlib
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import NamedTuple

from atc.config import classes as class_lists

PROMPT = "A high quality photograph of a {}."
# Of the 1,000 sentences of the paper, joined by newlines; their class names come from timm, which may correct some.
SHA256 = "2d06df0214b1b5633382c73f00b364e6fae30e15af6cafa99fc86561368f10b7"
# As the authors name them, where WordNet has two classes of one name, or another one.
_RENAMED = {7: "male chicken, cock", 134: "crane, a type of bird", 517: "crane, construction equipment"}
_SETS = 100_000  # of seeds: further apart than any two images of the 1,000 classes


class Wanted(NamedTuple):
    """One image to generate.

    Attributes:
        class_index: the number of its class, from 0.
        number: which image of the class it is, from 0.
        class_name: what the class is called.
        prompt: the sentence.
        seed: of the noise that it starts from.
    """

    class_index: int
    number: int
    class_name: str
    prompt: str
    seed: int

    @property
    def file(self) -> str:
        """The name of its file, such as "134_0.png"."""
        return f"{self.class_index}_{self.number}.png"


def imagenet_names() -> list[str]:
    """The names of ImageNet's 1,000 classes, with all their synonyms, as the prompts of the paper have them.

    Raises:
        ValueError: the installed timm has other names than those that the paper's prompts were made of.
    """
    from timm.data import ImageNetInfo

    names = [_RENAMED.get(index, name) for index, name in enumerate(ImageNetInfo().label_descriptions())]
    if sha256([PROMPT.format(name) for name in names]) != SHA256:
        raise ValueError(
            "the installed timm names ImageNet's classes otherwise than the paper's prompts do: install timm 1.0.26, "
            "or give the names in a text file, classes=FILE"
        )
    return [str(name) for name in names]


def sha256(prompts: Sequence[str]) -> str:
    """The hash of sentences joined by newlines, in hexadecimal digits."""
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()


def seed_of(class_index: int, number: int, seed: int = 0) -> int:
    """The seed of an image: for seed 0 the authors', 10c + i for up to ten images of a class.

    Args:
        class_index: c.
        number: i.
        seed: of the whole set of images; two sets have no seed in common.

    Returns:
        What the generator of the noise is seeded with.

    Examples:
        >>> seed_of(134, 1), seed_of(134, 1, seed=2)
        (1341, 201341)
    """
    return _SETS * seed + int(f"{class_index}{number}")


def wanted_images(
    classes: str | PathLike[str] | Sequence[int], per_class: int, prompt: str = PROMPT, seed: int = 0
) -> Iterator[Wanted]:
    """The images of a run, class by class.

    Args:
        classes: "imagenet", numbers of ImageNet's classes, or a text file with a name on each line.
        per_class: images of each.
        prompt: a sentence with {} where the name goes.
        seed: see `seed_of`.

    Yields:
        What each is made from.

    Raises:
        ValueError: `classes` is none of these; one line.
    """
    numbers = class_lists.numbers(classes)
    if numbers is None:
        named = dict(enumerate(class_lists.read(classes)))  # type: ignore[arg-type]  # it is a file
    else:
        names = imagenet_names()
        named = {number: names[number] for number in numbers}
    for index, name in named.items():
        for number in range(per_class):
            yield Wanted(index, number, name, prompt.replace("{}", name), seed_of(index, number, seed))
