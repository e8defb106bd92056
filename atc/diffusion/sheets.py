"""Many images on one: a contact sheet."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

BACKGROUND, INK = "white", "black"
_GAP, _LINE = 6, 18  # pixels


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]], *, side: int = 128, columns: int = 10) -> Image.Image:
    """Images with a line below each.

    Args:
        pictures: text and image, in order.
        side: of an image on the sheet, in pixels.
        columns: images beside one another.

    Returns:
        The sheet.
    """
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    width, height = side + _GAP, side + _LINE + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), BACKGROUND)
    for number, (text, picture) in enumerate(pictures):
        left, top = _GAP + number % columns * width, _GAP + number // columns * height
        _paste(sheet, picture, left, top, side)
        _write(sheet, text, (left + side / 2, top + side + _LINE / 2), side)
    return sheet


def _paste(sheet: Image.Image, picture: Image.Image, left: int, top: int, side: int) -> None:
    small = picture.convert("RGB")
    scale = side / max(small.size)
    small = small.resize([max(1, round(length * scale)) for length in small.size], Image.Resampling.LANCZOS)
    sheet.paste(small, (left + (side - small.width) // 2, top + (side - small.height) // 2))


def _write(sheet: Image.Image, text: str, middle: tuple[float, float], width: float) -> None:
    """A line of text around a point, cut off where it is wider than there is room."""
    font = ImageFont.load_default(12)
    while len(text) > 1 and font.getlength(text) > width:
        text = text.removesuffix("…")[:-1].rstrip() + "…"
        if text == "…":
            break
    ImageDraw.Draw(sheet).text(middle, text, fill=INK, font=font, anchor="mm")
