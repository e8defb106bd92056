"""python -m atc.dense.predict: without images, without a detector, or with settings it cannot have."""

from pathlib import Path

from tests.mistakes import Mistake

VALUES = {
    "threshold=1.5": "threshold=1.5 must lie in [0, 1]",
    "threshold=half": "threshold=half",
    "keep_rate=0": "keep_rate=0 must lie in (0, 1]",
    "on_corrupt=ignore": "on_corrupt=ignore must be fail or skip",
    "resume=auto": "resume=auto must be null",
    "thresold=0.5": "unknown setting 'thresold': did you mean 'threshold'",
    "reducer=atc_averag": "unknown reducer 'atc_averag': did you mean 'atc_average'",
    "trainer.precision=bf16-mixed": "trainer",
    "task=classification": "is a run of task=classification: objects are found by a detector, task=detection",
    "backbone=null": "backbone=null: a run needs one",
}


def prepare(here: Path) -> None:
    """An image, a folder without any, and what may be a weight file."""
    (here / "it.jpg").write_text("")
    (here / "empty").mkdir()
    (here / "weights.pth").write_bytes(b"no weights")


MISTAKES = [
    *(
        Mistake(f"predict images=it.jpg checkpoint=weights.pth {said}", (answer,), prepare=prepare, without_torch=True)
        for said, answer in VALUES.items()
    ),
    Mistake("predict", ("images=null: name an image or a folder of images, as in images=FOLDER",), without_torch=True),
    Mistake(
        "predict images=it.jpg",
        ("checkpoint=null: name the run of a detector, as in checkpoint=runs/train/NAME, or its weight file",),
        prepare=prepare,
        without_torch=True,
    ),
    Mistake(
        "predict images=nowhere checkpoint=weights.pth",
        ("images=nowhere: no such image or folder",),
        prepare=prepare,
        without_torch=True,
    ),
    Mistake(
        "predict images=it.jpg checkpoint=nowhere",
        ("checkpoint=nowhere: no such file or run directory",),
        prepare=prepare,
        without_torch=True,
    ),
    Mistake(
        "predict images=it.jpg checkpoint=empty",
        ("checkpoint=empty: the directory holds neither best.ckpt nor last.ckpt",),
        prepare=prepare,
        without_torch=True,
    ),
    Mistake(
        "predict images=empty checkpoint=weights.pth",
        ("images=empty: the folder holds no image, such as NAME.jpg or NAME.png",),
        prepare=prepare,
    ),
    Mistake(
        "predict images=it.jpg checkpoint=weights.pth", ("weights.pth is not a readable weight file",), prepare=prepare
    ),
    Mistake(
        "predict images=it.jpg checkpoint=weights.pth device=tpu:1",
        ("device=tpu:1 must be cpu, cuda, or one of several GPUs as in cuda:1",),
        prepare=prepare,
    ),
]
