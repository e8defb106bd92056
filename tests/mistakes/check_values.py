"""python -m datamodules.check: what it is asked that cannot be."""

from pathlib import Path

from tests.mistakes import Mistake


def _class_folders(folder: Path) -> None:
    from PIL import Image

    for name in ("ant", "bee"):
        (folder / "data" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8)).save(folder / "data" / name / f"{i}.png")


def _one_class(folder: Path) -> None:
    _class_folders(folder)
    (folder / "data" / "bee").rename(folder / "bee")


def _a_list_that_leads_out(folder: Path) -> None:
    (folder / "data" / "images").mkdir(parents=True)
    for name, line in (
        ("images.txt", "a ../../secret.jpg"),
        ("image_class_labels.txt", "a 1"),
        ("train_test_split.txt", "a 0"),
        ("classes.txt", "1 x"),
        ("hierarchy.txt", "1 0"),
    ):
        (folder / "data" / name).write_text(line + "\n")


def _a_number_that_is_none(folder: Path) -> None:
    _a_list_that_leads_out(folder)
    (folder / "data" / "image_class_labels.txt").write_text("a 817.0\n")


def _a_linked_class(folder: Path) -> None:
    _class_folders(folder)
    (folder / "data" / "cow").symlink_to(folder / "data" / "ant")


LAYOUT = 8  # lines that show what lies where

MISTAKES = [
    Mistake("check", ("which data set? Give datamodule=NAME", "there are: ", "cifar100, coco"), without_torch=True),
    Mistake("check --decode", ("which data set?",), without_torch=True),
    Mistake("check datamodule.root=x", ("which data set?",), without_torch=True),
    Mistake("check datamodule=nabird", ("unknown datamodule 'nabird'", "'nabirds'"), without_torch=True),
    Mistake("check datamodule=null", ("unknown datamodule 'null': there are",), without_torch=True),
    Mistake("check datamodule=", ("unknown datamodule ''",), without_torch=True),
    Mistake("check datamodule=coco,nabirds", ("unknown datamodule 'coco,nabirds'",), without_torch=True),
    Mistake("check datamodule=[coco]", ("unknown datamodule '[coco]': did you mean 'coco'",), without_torch=True),
    Mistake("check datamodule=nabirds --decod", ("unknown option --decod: there are --decode",), without_torch=True),
    Mistake("check datamodule=nabirds datamodule.rot=x", ("Could not override 'datamodule.rot'",), without_torch=True),
    Mistake("check datamodule=nabirds root", ("Error parsing override 'root'",), without_torch=True),
    Mistake("check datamodule=nabirds datamodule.root=???", ("datamodule.root=??? is not set",), without_torch=True),
    Mistake("check datamodule=nabirds paths.data=???", ("datamodule.root=??? is not set",), without_torch=True),
    Mistake("check datamodule=nabirds datamodule.root=${nope}", ("'nope' not found",), without_torch=True),
    Mistake("check datamodule=nabirds ~datamodule", ("datamodule",), without_torch=True),
    Mistake("check datamodule=nabirds backbone=digit", ("backbone/digit",), without_torch=True),
    Mistake(
        "check datamodule=nabirds datamodule.background=#000", ("special characters need quotes",), without_torch=True
    ),
    Mistake("check datamodule=nabirds datamodule.root=5", ("missing the folder 5",), lines=13),
    Mistake("check datamodule=folder datamodule.root=5", ("missing the folder 5",), lines=LAYOUT),
    Mistake("check datamodule=folder datamodule.root=a,b", ("missing the folder a,b",), lines=LAYOUT),
    Mistake("check datamodule=folder", ("a folder: datamodule.root is not set",), lines=LAYOUT),
    Mistake("check datamodule=folder datamodule.root=", ("datamodule.root is not set",), lines=LAYOUT),
    Mistake("check datamodule=folder datamodule.root=.stderr", ("the folder .stderr, which is a file",), lines=LAYOUT),
    Mistake(
        "check datamodule=folder datamodule.root=data",
        ("a second class: the only class folder in data is ant",),
        prepare=_one_class,
        lines=LAYOUT,
    ),
    Mistake("check datamodule=coco datamodule.year=1999", ("datamodule.year=1999: there are 2014, 2017",)),
    Mistake("check datamodule=imagenet datamodule.source=lmdb", ("datamodule.source=lmdb: there are folders",)),
    Mistake("check datamodule=imagenette datamodule.resolution=7", ("datamodule.resolution=7: there are full",)),
    Mistake("check datamodule=folder datamodule.held_out=2", ("datamodule.held_out=2 is not between 0 and 1",)),
    Mistake("check datamodule=folder datamodule.held_out=abc", ("datamodule.held_out=abc is not between 0 and 1",)),
    Mistake("check datamodule=folder datamodule.held_out=nan", ("datamodule.held_out=nan is not between",)),
    Mistake("check datamodule=folder datamodule.selection=best", ("datamodule.selection=best is neither",)),
    Mistake("check datamodule=folder datamodule.on_corrupt=ignore", ("datamodule.on_corrupt=ignore is neither",)),
    Mistake("check datamodule=folder datamodule.exif=no", ("datamodule.exif=no is neither true nor false",)),
    Mistake("check datamodule=folder datamodule.follow_links=off", ("datamodule.follow_links=off is neither",)),
    Mistake("check datamodule=folder datamodule.background=noir", ("datamodule.background=noir is no colour",)),
    Mistake("check datamodule=folder datamodule.background=[1,2]", ("datamodule.background=[1, 2] is no colour",)),
    Mistake("check datamodule=folder datamodule.background=[0,0,256]", ("is no colour such as white",)),
    Mistake(
        "check datamodule=folder datamodule.transforms.auto_augment=x",
        ("auto_augment=x",),
    ),
    Mistake("check datamodule=shapes datamodule.target=both", ("datamodule.target=both is neither",)),
    Mistake("check datamodule=digits +datamodule.colour=red", ("unexpected keyword argument 'colour'",)),
    Mistake(
        "check datamodule=nabirds datamodule.root=data",
        ("data/images.txt, a: '../../secret.jpg' leads out of data/images",),
        prepare=_a_list_that_leads_out,
        status=1,
    ),
    Mistake(
        "check datamodule=nabirds datamodule.root=data",
        ("data/image_class_labels.txt, a: expected a whole number, found '817.0'",),
        prepare=_a_number_that_is_none,
        status=1,
    ),
    Mistake(
        "check datamodule=folder datamodule.root=data datamodule.follow_links=false",
        ("data/cow is a link, which datamodule.follow_links=false refuses",),
        prepare=_a_linked_class,
        status=1,
    ),
    Mistake("train datamodule=folder datamodule.root=???", ("datamodule.root has no default: set it",)),
    Mistake("evaluate", ("checkpoint=a\\nb\\x1b[31m.ckpt: no such file",), ("checkpoint='a\nb\x1b[31m.ckpt'",)),
]
