"""Draws the pictures of this folder: what each method does to one photograph.

python docs/pictures_of_methods/draw.py                    the weights of DeiT-Tiny are downloaded
python docs/pictures_of_methods/draw.py CHECKPOINT         or come from a file
python docs/pictures_of_methods/draw.py CHECKPOINT tome    some methods only

The photograph is "Chelsea" of scikit-image (by Stéfan van der Walt, CC0), as it is stored with the golden outputs.
Methods that need training are left out: their layers start at random, so that a picture would show nothing of the
method.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from atc import methods, visualise

HERE = Path(__file__).resolve().parent
PHOTOGRAPHS = HERE.parents[1] / "tests" / "golden" / "backbone.npz"
WIDTH = 1000  # pixels
# Distances at which about as many tokens are left as at keep rate .5.
THRESHOLDS = {
    "atc_average_dynamic": "0.25",
    "atc_complete_dynamic": "0.36",
    "atc_single_dynamic": "0.18",
}


def draw(name: str, photograph: Path, checkpoint: str | None, folder: Path) -> Path:
    """Draw one method at keep rate .5, or up to a distance.

    Args:
        name: of the method.
        photograph: a picture file.
        checkpoint: the weights of DeiT-Tiny; None: they are downloaded.
        folder: where the picture is written.

    Returns:
        The picture, NAME.webp.

    Raises:
        RuntimeError: `atc.visualise` has failed, and said why.
    """
    raw = folder / f"{name}.png"
    settings = [f"image={photograph}", "backbone=deit_tiny", f"reducer={name}", "look=detail", f"output={raw}"]
    settings.append(f"threshold={THRESHOLDS[name]}" if name in THRESHOLDS else "keep_rate=0.5")
    if name == "tome_2d":  # which works at one block only
        settings.append("blocks=[4]")
    if checkpoint is not None:
        settings.append(f"backbone.checkpoint={checkpoint}")
    if visualise.main(settings):
        raise RuntimeError(f"{name} was not drawn")
    picture = Image.open(raw).convert("RGB")
    size = WIDTH, round(picture.height * WIDTH / picture.width)
    written = HERE / f"{name}.webp"
    picture.resize(size, Image.Resampling.LANCZOS).save(written, quality=70, method=6)
    return written


def main(arguments: Sequence[str]) -> None:
    """Draw the methods named, or all that mean something without training."""
    checkpoint = arguments[0] if arguments else None
    named = arguments[1:]
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "chelsea.png"
        with np.load(PHOTOGRAPHS) as file:
            Image.fromarray(file["images"][3]).save(photograph)
        for name, cls in sorted(methods.classes()):
            if name in named or (not named and cls.reduces and not cls.needs_training):
                print(draw(name, photograph, checkpoint, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
