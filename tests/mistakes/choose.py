"""python -m atc.choose: without images, with settings it cannot have, with a budget that no method fits."""

from pathlib import Path

from tests.mistakes import Mistake

VALUES = {
    "budget=1": "budget=1 must lie in (0, 1)",
    "budget=half": "budget=half must be a number",
    "cost=time": "cost=time must be gflops or latency",
    "front=[0.5,2]": "front=[0.5, 2]",
    "reducers=[atc_averag]": "unknown reducer 'atc_averag': did you mean 'atc_average'",
    "reducers=[]": "reducers=[] leaves nothing to compare",
    "schedules=[stage]": "unknown schedule 'stage': did you mean 'stages'",
    "blocks=[0]": "blocks=[0]",
    "trials=-1": "trials=-1 must be 0 or more",
    "output=front.txt": "output=front.txt must end in one of .png, .svg, .pdf",
    "output=nowhere/front.png": "output=nowhere/front.png: there is no directory nowhere",
    "images=photos": "both are given",
    "budge=0.5": "budge",
    "--budget=0.5": "--budget=0.5: settings have no dashes",
}


def _one_image(here: Path) -> None:
    (here / "photos").mkdir()
    (here / "photos" / "it.jpg").write_text("")


MISTAKES = [
    *(
        Mistake(f"choose datamodule=digits {said}", (answer,), without_torch=True, prepare=_one_image)
        for said, answer in VALUES.items()
    ),
    Mistake("choose", ("images=FOLDER, or a data set as in datamodule=digits; none is given",), without_torch=True),
    Mistake("choose images=nowhere", ("images=nowhere: there is no such folder",), without_torch=True),
    Mistake(
        "choose images=photos backbone=digits choose_on=8 check_on=1 trials=0",
        ("choose_on=8 and check_on=1 are 9 images, and there are 1",),
        prepare=_one_image,
        slow=True,
    ),
    Mistake(
        "choose images=photos backbone=digits choose_on=1 check_on=0 trials=0", ("check_on=0",), without_torch=True
    ),
    Mistake(
        "choose datamodule=digits budget=0.01 reducers=[topk] schedules=[stages] trials=0 choose_on=4 check_on=4",
        ("budget=0.01: no method fits, such as", "of the dense model at the least"),
        slow=True,
    ),
]
