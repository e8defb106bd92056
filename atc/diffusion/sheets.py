"""Many images on one: a contact sheet of a run, and rows and columns of runs as in Figure 6 of the paper."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

BACKGROUND, INK, MISSING = "white", "black", (225, 225, 225)
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


def figure(
    rows: Sequence[str],
    columns: Sequence[str],
    pictures: Mapping[tuple[str, str], Image.Image],
    *,
    side: int = 256,
    title: str = "",
) -> Image.Image:
    """Images in rows and columns with headings; a place without an image is grey.

    Args:
        rows: headings, from the top.
        columns: headings, from the left.
        pictures: by row and column.
        side: of an image, in pixels.
        title: a line above all.

    Returns:
        The figure.
    """
    margin, above = max(60, side // 4), _LINE * (3 if title else 2)
    width, height = margin + len(columns) * (side + _GAP), above + len(rows) * (side + _GAP)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    if title:
        _write(sheet, title, (width / 2, _LINE * 0.75), width)
    for across, column in enumerate(columns):
        left = margin + across * (side + _GAP)
        _write(sheet, column, (left + side / 2, above - _LINE / 2 - 2), side)
        for down, row in enumerate(rows):
            _paste(sheet, pictures.get((row, column)), left, above + down * (side + _GAP), side)
    for down, row in enumerate(rows):
        _write(sheet, row, (margin / 2, above + down * (side + _GAP) + side / 2), margin)
    return sheet


def _paste(sheet: Image.Image, picture: Image.Image | None, left: int, top: int, side: int) -> None:
    if picture is None:
        sheet.paste(MISSING, (left, top, left + side, top + side))
        return
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
