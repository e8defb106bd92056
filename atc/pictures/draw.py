"""One image and what a forward pass did to its tokens, as a picture: `atc.draw`."""

import io
import math

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from atc.core import Trace
from atc.extras import needs
from atc.ops.arguments import described
from atc.pictures.regions import Pixels
from atc.pictures.settings import Look
from atc.pictures.snapshots import snapshots

PIXELS = 16  # a patch is drawn with at least so many pixels a side


def draw(
    image: Image.Image | Tensor,
    trace: Trace,
    index: int = 0,
    *,
    grid: tuple[int, int] | None = None,
    look: Look = "detail",
) -> Image.Image:
    """The image, and beside it what each reduction of a forward pass made of it.

    Patches that one token holds are outlined; pruned patches are dimmed. Under a soft method, which shares every patch
    out over several tokens, each patch has the colours of its tokens, mixed by its shares, and nothing is outlined.

    Args:
        image: the photograph, of which the largest centred part with the shape of the grid is shown; or ``[3, H, W]``
            as the network got it, but not normalised: uint8, or floating in [0, 1].
        trace: ``model.trace`` after the forward pass.
        index: which image of the batch.
        grid: rows and columns of patches; None takes the one that is closest to the shape of the image.
        look: "detail" shows merged patches in their mean colour and leaves single ones their picture, "mean" shows
            all in their mean colour, "distinct" in colours that tell clusters apart.

    Returns:
        An RGB picture of a row of panels, with the number of tokens under each.

    Raises:
        ValueError: nothing was reduced, or the image, the index or the grid do not fit the trace; one line.

    Examples:
        >>> from atc.core import StageTrace
        >>> labels = torch.tensor([[0, 0, 1, 1]])  # the two upper patches are one token, the two lower ones another
        >>> trace = Trace([StageTrace(1, 4, 2, labels, size=torch.full((1, 2), 2.0), source=labels)])
        >>> draw(torch.rand(3, 32, 32), trace).mode
        'RGB'
    """
    needs("atc.draw", "matplotlib", "pictures")
    from atc.pictures.figure import Row, figure

    if not trace:
        raise ValueError("there is nothing to draw: the trace has no stages; run a wrapped model that reduces tokens")
    sources = trace[0].source
    if isinstance(index, bool) or not isinstance(index, int | np.integer):
        raise ValueError(f"index={described(index)} must be a whole number: which image of the batch")
    if not -len(sources) <= index < len(sources):
        raise ValueError(f"index={index}: the trace is of {len(sources)} images, 0 to {len(sources) - 1}")
    patches = sources.shape[1]
    photo = _photo(image)
    if grid is None:
        grid = _grid(patches, photo.width, photo.height)
    if grid[0] * grid[1] != patches:
        raise ValueError(f"grid={grid} has {grid[0] * grid[1]} patches, the trace {patches}")
    side = max(PIXELS, round(math.sqrt(photo.width * photo.height / patches)))
    fitted = ImageOps.fit(photo, (grid[1] * side, grid[0] * side), Image.Resampling.BICUBIC)
    stages = snapshots(trace, index)
    drawn = io.BytesIO()
    figure([Row("", np.asarray(fitted), grid, stages, look)]).savefig(drawn, format="png", dpi=150, facecolor="white")
    return Image.open(drawn).convert("RGB")


def _photo(image: Image.Image | Tensor) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image must be a PIL image or a tensor [3, H, W], got {described(image)}")
    if not image.numel():
        raise ValueError(f"image has no pixels: {described(image)}")
    if image.is_floating_point():
        low, high = (float(value) for value in image.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"image must lie in [0, 1], got {low:.3g} to {high:.3g}: undo its normalisation first")
        image = (image.detach().float() * 255).round()
    elif image.dtype != torch.uint8:
        raise ValueError(f"image must be uint8 or floating, got {image.dtype}")
    pixels: Pixels = image.to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)


def _grid(patches: int, width: int, height: int) -> tuple[int, int]:
    """Rows and columns whose ratio is closest to that of an image; of equally close ones the squarest."""
    rows = [number for number in range(1, patches + 1) if patches % number == 0]

    def distance(number: int) -> tuple[float, float]:
        ratio = math.log(number * number / patches)
        return round(abs(ratio - math.log(height / width)), 6), abs(ratio)

    best = min(rows, key=distance)
    return best, patches // best
