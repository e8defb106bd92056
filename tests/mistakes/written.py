"""Files to be written that are read: images, weights, data; and files that another program has left there."""

import json
from pathlib import Path

from tests.mistakes import Mistake


def _photos(here: Path) -> None:
    from PIL import Image

    (here / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (28, 28), "teal").save(here / "photos" / name)
    (here / "photos" / "a.json").write_text("{}")
    (here / "link.png").symlink_to("photos/a.png")
    (here / "weights.png").write_bytes(b"weights")
    (here / "front.json").write_text(json.dumps({"title": "an article"}))
    (here / "own.png").write_bytes(b"drawn by hand")
    (here / "digits_front.png").write_bytes(b"drawn by hand")


def _given(line: str, *says: str) -> Mistake:
    return Mistake(line, says, prepare=_photos, without_torch=True)


_CALIBRATE = "calibrate backbone=digits images=photos"
_CHOOSE = "choose backbone=digits images=photos choose_on=1 check_on=1 trials=0 reducers=[topk]"
_TWO = "images=photos and datamodule=digits are both given"
_FID = "fid generated=photos reference=photos features=random"
MISTAKES = [
    _given(f"{_CALIBRATE} picture=photos/a.png", "picture=photos/a.png is a file of images in photos", "overwritten"),
    _given(f"{_CALIBRATE} picture=link.png", "picture=link.png is a file of images in photos", "overwritten"),
    _given(f"{_CALIBRATE} output=photos/a.json", "output=photos/a.json is a file of images in photos", "overwritten"),
    _given(f"{_CALIBRATE} datamodule=digits", _TWO),
    _given("calibrate images=photos/a.png picture=link.png", "the file of images=photos/a.png", "overwritten"),
    _given(f"{_CALIBRATE} backbone.checkpoint=weights.png picture=weights.png", "backbone.checkpoint", "overwritten"),
    _given(f"{_CALIBRATE} picture=weights.png/x.png", "picture=weights.png/x.png cannot be written"),
    _given(f"{_CHOOSE} output=photos/b.png", "output=photos/b.png is a file of images in photos", "overwritten"),
    _given(f"{_CHOOSE} output=photos/a.svg", "photos/a.json, where what was tried is written, is a file of images"),
    _given(f"{_CHOOSE} output=link.png", "output=link.png is a file of images in photos", "overwritten"),
    _given(f"{_CHOOSE} output=front.png", "front.json is there already, and is not from this command"),
    _given(f"{_CHOOSE} output=own.png", "own.png is there already, and is not from this command"),
    _given(_CHOOSE, "digits_front.png is there already, and is not from this command"),
    _given(f"{_FID} output=photos/a.png", "output=photos/a.png is a file of generated in photos", "overwritten"),
    _given(f"{_FID} weights=weights.png output=./weights.png", "weights"),
    _given(f"{_FID} output=weights.png/x.json", "output=weights.png/x.json cannot be written"),
]
