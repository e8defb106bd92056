"""python -m atc.visualise: values that a setting cannot have, pictures that are none, files that are to be kept."""

import os
import struct
import zlib
from pathlib import Path

from PIL import Image

from tests.mistakes import Mistake


def _pictures(directory: Path) -> None:
    """A picture under several names, one of 900 megapixels in 200 bytes, and what is no picture."""
    Image.new("RGB", (40, 40), "teal").save(directory / "a.png")
    (directory / "link.png").symlink_to("a.png")
    os.link(directory / "a.png", directory / "hard.png")
    os.mkfifo(directory / "pipe.png")
    (directory / "text.png").write_text("no picture")
    (directory / "folder.png").mkdir()
    (directory / "huge.png").write_bytes(_png(30_000, 30_000))
    (directory / "loop.png").symlink_to("loop.png")


def _default_name(directory: Path) -> None:
    _pictures(directory)
    (directory / "a_tokens.png").symlink_to("a.png")


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


_VALUES = [
    ("index=a datamodule=digits", "index=a must be a whole number of 0 or more"),
    ("index=1.5 datamodule=digits", "index=1.5 must be a whole number"),
    ("index=-1 datamodule=digits", "index=-1 must be 0 or more"),
    ("index=true datamodule=digits", "index=true must be a whole number"),
    ("datamodule=digits", "no image: give image=PATH"),
    ("", "no image: give image=PATH"),
    ("image=digits:1 part=train", "part=train must be test or val"),
    ("image=a.png output=x.gif gif.milliseconds=-1", "gif.milliseconds=-1 must lie in [10, 26000]"),
    ("image=a.png output=x.gif gif.milliseconds=0", "gif.milliseconds=0 must lie in"),
    ("image=a.png gif.milliseconds=1e9", "gif.milliseconds=1000000000.0 must lie in"),
    ("image=a.png gif.milliseconds=fast", "gif.milliseconds=fast must be a whole number"),
    ("image=a.png gif.per_stage=0", "gif.per_stage=0 must lie in [1, 1000]"),
    ("image=a.png gif.per_stage=2.5", "gif.per_stage=2.5 must be a whole number"),
    ("image=a.png gif.per_stage=100000000", "gif.per_stage=100000000 must lie in"),
    ("image=a.png gif=5", "gif=5 must be settings"),
    ("image=a.png ~page", "page=null must be settings"),
    ("image=a.png png_colours=0", "png_colours=0 must lie in [1, 256]"),
    ("image=a.png png_colours=-3", "png_colours=-3 must lie in"),
    ("image=a.png png_colours=257", "png_colours=257 must lie in"),
    ("image=a.png png_colours=true", "png_colours=true must be a whole number"),
    ("image=a.png look=meen", "did you mean 'mean'"),
    ("image=a.png look=5", "look=5: there are: mean, detail, distinct"),
    ("image=a.png look=[]", "look=[]"),
    ("image=a.png page.keep_rates=[2]", "page.keep_rates=[2] must be a list of numbers in (0, 1]"),
    ("image=a.png page.keep_rates=[]", "page.keep_rates=[] is empty"),
    ("image=a.png page.reducers=tome", "page.reducers=tome must be a list"),
    ("image=a.png page.reducers=[tomee]", "unknown reducer 'tomee': did you mean 'tome'"),
    ("image=a.png keep_rate=[0.5,2]", "keep_rate=2 must lie in (0, 1]"),
    ("image=a.png keep_rate=nan", "keep_rate=nan must be finite"),
    ("image=a.png t=-1", "t=-1 must be 0 or more"),
    ("image=a.png blocks=[a]", "blocks=[a] must be a list of whole numbers"),
    ("image=a.png seed=1.5", "seed=1.5 must be a whole number"),
    ("image=a.png as_released=no", "as_released=no must be true or false"),
    ("image=a.png debug=off", "debug=off must be true or false"),
    ("image=a.png reducer=[atc_average,tomme]", "did you mean 'tome'"),
    ("image=a.png ~reducer", "a picture needs a reducer"),
    ("image=a.png ~backbone", "a picture needs a backbone"),
    ("image=a.png --output x.png", "settings have no dashes"),
    ("image=a.png --html", "--html needs the file to write"),
    ("image=", "image='' must be a path"),
    ("image=5", "the image 5 does not exist"),
    ("image=[a]", "the image [a] does not exist"),
    ("image=nowhere.png", "nowhere.png does not exist"),
    ("image=loop.png", "loop.png does not exist"),
    ("image=folder.png", "folder.png is a directory"),
    ("image=pipe.png", "pipe.png is a device or a pipe"),
    ("image=/dev/zero", "/dev/zero is a device or a pipe"),
    ("image=a.png datamodule=digits", "image=a.png and datamodule=digits are two images: name one of them"),
    ("image=a.png index=3 datamodule=digits", "image=a.png and datamodule=digits index=3 are two images"),
    ("image=a.png index=3", "image=a.png and index=3 are two images"),
    ("image=a.png output=x.bmp", "must end in one of .png"),
    ("image=a.png output=", "output='' must be a path"),
    ("image=a.png output=folder.png", "output=folder.png is a directory"),
    ("image=a.png output=nowhere/x.png", "there is no directory nowhere"),
    ("image=a.png html=nowhere/x.html", "there is no directory nowhere"),
    ("image=a.png html=folder.png", "html=folder.png is a directory"),
    ("image=a.png output=x.png html=x.png", "are one file"),
    ("image=a.png output=x.png html=folder.png/../x.png", "are one file"),
]
_KEPT = [
    "image=a.png output=a.png",
    "image=a.png output=./folder.png/../a.png",
    "image=a.png output=link.png",
    "image=link.png output=a.png",
    "image=a.png output=hard.png",
    "image=a.png html=a.png",
    "image=a.png --html hard.png",
    "image=digits:1 backbone.checkpoint=a.png html=link.png",
]

MISTAKES = [
    *(Mistake(f"visualise {line}", (said,), prepare=_pictures, without_torch=True) for line, said in _VALUES),
    Mistake(
        "visualise image=a.png backbone=digits reducer=svit html=x.html",
        ("SViT lets tokens pass single blocks by",),
        prepare=_pictures,
    ),
    *(Mistake(f"visualise {line}", ("overwritten",), prepare=_pictures, without_torch=True) for line in _KEPT),
    Mistake("visualise image=a.png", ("a_tokens.png", "overwritten"), prepare=_default_name, without_torch=True),
    Mistake("visualise", ("the image \\x1b[31m.png does not exist",), ("image=\x1b[31m.png",), without_torch=True),
    Mistake("visualise image=huge.png", ("huge.png",), prepare=_pictures),
    Mistake("visualise image=text.png", ("text.png",), prepare=_pictures),
    Mistake("visualise image=digits:450 backbone.pretrained=false", ("index=450: the test part has images 0 to 449",)),
]
