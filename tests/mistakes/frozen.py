"""Zero-shot classification and probes: what does not go with them, and prompts files that are none."""

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.mistakes import Mistake

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SHOT = "evaluate task=zero_shot backbone=open_clip backbone.name=ViT-B-32 backbone.pretrained=false"
_FORM = "a line is NAME<TAB>TEMPLATE"


def _file(content: bytes | str) -> Callable[[Path], None]:
    def prepare(directory: Path) -> None:
        (directory / "p.tsv").write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def _odd(directory: Path) -> None:
    (directory / "folder").mkdir()
    os.mkfifo(directory / "pipe")


def _untrainable(directory: Path) -> None:
    for name in ("a", "b"):
        place = directory / "pictures" / "test" / name
        place.mkdir(parents=True)
        Image.new("RGB", (28, 28)).save(place / "one.png")


_good = _file("".join(f"{name}\ta photo of a {{}}.\n" for name in _DIGITS))
_few = _file("".join(f"{name}\ta {{}}\n" for name in _DIGITS[:9]))
_labels = "datamodule=shapes"


def _prompts(says: tuple[str, ...], prepare: Callable[[Path], None] | None, file: str = "p.tsv") -> Mistake:
    return Mistake(f"{_SHOT} task.prompts={file}", (f"task.prompts={file}", *says), prepare=prepare, without_torch=True)


MISTAKES = [
    Mistake(_SHOT, ("task.prompts has no default",), without_torch=True),
    _prompts(("there is no such file",), None, "nowhere.tsv"),
    _prompts(("is no regular file", _FORM), _odd, "folder"),
    _prompts(("is no regular file", _FORM), _odd, "pipe"),
    _prompts(("is empty", _FORM), _file("")),
    _prompts(("is empty", _FORM), _file("\n \n\n")),
    _prompts(("line 2 has no tab", "one a photo of a {}.", _FORM), _file("zero\ta {}\none a photo of a {}.\n")),
    _prompts(("line 1 has 2 tabs", _FORM), _file("zero\ta {}\tmore\n")),
    _prompts(("line 1: the template 'a photo' has no {}", _FORM), _file("zero\ta photo\n")),
    _prompts(("line 1: the template 'a {name}' has no {}",), _file("zero\ta {name}\n")),
    _prompts(("line 1 names no class",), _file("\ta {}\n")),
    _prompts(("line 3 repeats 'a zero' for the class 'zero'",), _file("zero\ta {}\none\ta {}\nzero\ta {}\n")),
    _prompts(("is no text in UTF-8 (byte 5)",), _file(b"zero\t\xff{}\n")),
    Mistake(
        f"{_SHOT} task.prompts=p.tsv",
        ("task.prompts=p.tsv names 9 classes, and datamodule=digits has 10",),
        prepare=_few,
        slow=True,
    ),
    Mistake(f"{_SHOT} task.prompts=[p.tsv]", ("task.prompts", "must be a path"), prepare=_good, without_torch=True),
    Mistake(
        "train task=zero_shot backbone=open_clip backbone.name=ViT-B-32 task.prompts=p.tsv",
        ("task=zero_shot evaluates a model that is not trained: python evaluate.py task=zero_shot",),
        prepare=_good,
        without_torch=True,
    ),
    *(
        Mistake(
            f"evaluate task=zero_shot task.prompts=p.tsv {backbone}",
            ("needs a backbone with a text tower: backbone=transformers or backbone=open_clip", name),
            prepare=_good,
            without_torch=True,
        )
        for name, backbone in (
            ("backbone=digits has none", ""),
            ("backbone=deit_tiny has none", "backbone=deit_tiny"),
            ("backbone=torchvision has none", "backbone=torchvision backbone.name=vit_b_16"),
        )
    ),
    Mistake(
        f"{_SHOT} task.prompts=p.tsv backbone.checkpoint=w.pth",
        ("backbone.checkpoint=w.pth holds an image tower alone", "backbone.weights=TAG or FILE"),
        prepare=_good,
        without_torch=True,
    ),
    Mistake(
        f"{_SHOT} task.prompts=p.tsv {_labels}",
        ("several labels per image, task=zero_shot takes one",),
        prepare=_good,
        slow=True,
    ),
    Mistake(
        f"{_SHOT} task.prompts=p.tsv task.prompt=3",
        ("'task' has no setting 'prompt'", "did you mean 'prompts'"),
        prepare=_good,
        without_torch=True,
    ),
    Mistake("train task=probe", ("task=probe evaluates a model that is not trained",), without_torch=True),
    Mistake("evaluate task=probe task.probe=tree", ("task.probe=tree", "knn or linear"), without_torch=True),
    Mistake("evaluate task=probe task.k=0", ("task.k=0", "1 or more"), without_torch=True),
    Mistake("evaluate task=probe task.k=2.5", ("task.k=2.5", "whole number"), without_torch=True),
    Mistake("evaluate task=probe task.temperature=0", ("task.temperature=0", "must be positive"), without_torch=True),
    Mistake("evaluate task=probe task.C=-1 task.probe=linear", ("task.C=-1", "must be positive"), without_torch=True),
    Mistake("evaluate task=probe task.C=1", ("task.C=1 is for task.probe=linear, not knn",), without_torch=True),
    Mistake("evaluate task=probe task.probe=linear task.k=5", ("task.k=5 is for task.probe=knn",), without_torch=True),
    Mistake("evaluate task=probe task.K=5", ("'task' has no setting 'K'",), without_torch=True),
    Mistake(f"evaluate task=probe {_labels}", ("several labels per image, task=",), slow=True),
    Mistake("evaluate task=probe task.k=2000", ("task.k=2000 is more than the 1077 training images",), slow=True),
    Mistake(
        "evaluate task=probe trainer.limit_train_batches=0",
        ("trainer.limit_train_batches=0 leaves none of the 1,077 training images",),
        slow=True,
    ),
    Mistake(
        "evaluate task=probe datamodule=folder datamodule.root=pictures",
        ("train/ in pictures",),
        prepare=_untrainable,
        slow=True,
        lines=7,
    ),
]
