"""From any picture that Pillow opens to 8-bit RGB: nothing is stretched to fit, nothing is cut off without a word.

Integers of more than 8 bits count as 16-bit, v / 257; floats in [0, 1] are times 255; transparent pictures are laid
over a background; a picture is turned as its EXIF orientation says. Of an animation the first frame is read. Colour
profiles are left alone, as by torchvision.
"""

import functools
import re
import sys
import warnings
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITE = (255, 255, 255)
MAX_PIXELS = 89_478_485  # where Pillow starts to warn; for it an error only at twice as many
MAX_RATIO = 500  # of the longer side to the shorter, which is what pictures are scaled by
KINDS = ("16-bit", "floating-point", "turned by EXIF", "transparent")  # what is converted

# Formats that Pillow passes to a program or to a handler of others, or of which it has the name only.
_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "PDF"}
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WIDE = re.compile(r"(RGB|RGBX|RGBA|CMYK);16[LBN]|LA;16B")  # of whose 16 bits Pillow keeps the upper 8
_LOWER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}

# Its warning from MAX_PIXELS on would only announce the error that follows.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats that are read, the usual ones first."""
    Image.init()
    usual = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
    return *(name for name in usual if name in Image.OPEN), *sorted(set(Image.OPEN) - {*usual, *_NOT_READ})


@functools.cache
def suffixes() -> frozenset[str]:
    """How the names of pictures end: lower case, with the dot."""
    known = set(formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def decode(
    file: BinaryIO, exif: bool = True, background: tuple[int, int, int] = WHITE
) -> tuple[Image.Image, frozenset[str]]:
    """Read the picture in an open file.

    Args:
        file: a seekable file, at its beginning.
        exif: turn the picture as its EXIF orientation says.
        background: red, green and blue, 0..255, of what transparent pictures are laid over.

    Returns:
        The picture, of mode RGB, and which of KINDS it was before.

    Raises:
        ValueError: it is too large, or holds values out of range; the message does not name the file.
        Exception: whatever Pillow raises for what is no picture, see `datamodules.io.pictures.UNREADABLE`.
    """
    image = _open(file)
    kinds = set()
    if image.format == "TIFF" and _tag(image, _ORIENTATION) in _TURNS:
        kinds.add("turned by EXIF")  # by Pillow, while it is loaded
    rawmode = stored_as(image)
    if _WIDE.fullmatch(rawmode):
        picture = _from_16_bits(image, _lower_bytes(file, rawmode), rawmode)
        kinds.add("16-bit")
    elif image.mode[0] == "I":
        picture = _from_integers(image)
        kinds.add("16-bit")
    elif image.mode == "F":
        picture = _from_floats(image)
        kinds.add("floating-point")
    else:
        image.load()
        check_size(image.size)  # an icon's is known only now
        picture = image
        if rawmode in ("L;2", "L;4") and "transparency" in image.info:  # pixels are scaled to 8 bits, this is not
            image.info["transparency"] *= {"L;2": 85, "L;4": 17}[rawmode]
    picture = _flat(picture, background, kinds)
    turn = _TURNS.get(_orientation(image)) if exif and image.format != "TIFF" else None
    if turn is not None:
        kinds.add("turned by EXIF")
        picture = picture.transpose(turn)
    return picture, frozenset(kinds)


def _open(file: BinaryIO) -> Any:
    image = Image.open(file, formats=formats())
    check_size(image.size)
    bits = _tag(image, 258) or (8,)  # BitsPerSample
    if max(bits) > 8 and len(bits) > 1 and _tag(image, 284) == 2 and len(stored_as(image)) == 1:
        raise ValueError("a TIFF file of uncompressed colour planes with 16 bits, which Pillow takes for 8")
    return image


def check_size(size: tuple[int, int]) -> None:
    """ValueError for a picture of more pixels, or of a longer shape, than is read; the message names no file.

    Args:
        size: width and height in pixels.
    """
    width, height = size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width:,} x {height:,} pixels, more than the {MAX_PIXELS:,} that are read: scale it down")
    if max(size) > MAX_RATIO * min(size):
        raise ValueError(f"{width:,} x {height:,} pixels: one side is more than {MAX_RATIO} times the other")


def _tag(image: Any, number: int) -> Any:
    """A tag of a TIFF file, None elsewhere."""
    return image.tag_v2.get(number) if image.format == "TIFF" else None


def stored_as(image: Any) -> str:
    """How the pixels of an image that was opened and not read yet are stored, in Pillow's terms, such as "L;4"."""
    args = image.tile[0][3] if image.tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _lower_bytes(file: BinaryIO, rawmode: str) -> NDArray[np.uint8]:
    """The lower bytes of a picture of 16 bits: those that are the upper ones in the other byte order."""
    file.seek(0)
    image = _open(file)
    # Grey and alpha have no other order in Pillow: all four bytes are read as they are.
    other = "RGBA" if rawmode == "LA;16B" else rawmode[:-1] + _LOWER[rawmode[-1]]
    image.tile = [
        (*tile[:3], (other, *tile[3][1:]) if isinstance(tile[3], tuple) else other) for tile in map(tuple, image.tile)
    ]
    found = np.array(image)
    return found[..., [1, 1, 1, 3]] if rawmode == "LA;16B" else found


def _from_16_bits(image: Any, lower: NDArray[np.uint8], rawmode: str) -> Image.Image:
    """A picture of several channels of 16 bits."""
    values = np.asarray(image).astype(np.uint16) << 8 | lower
    hidden = image.info.get("transparency")  # a colour of 16 bits
    picture = Image.frombytes(image.mode, image.size, _of_16_bits(values).tobytes())
    if isinstance(hidden, tuple) and image.mode == "RGB":
        picture.putalpha(Image.fromarray(np.where((values == hidden).all(-1), 0, 255).astype(np.uint8)))
    return picture


def _from_integers(image: Any) -> Image.Image:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65_535:
        raise ValueError(f"values from {low:,} to {high:,}: integers of more than 8 bits have to lie in 0..65,535")
    if _tag(image, 262) == 0:  # PhotometricInterpretation: 0 is white; Pillow heeds it for 8 bits only
        values = 65_535 - values
    picture = Image.fromarray(_of_16_bits(values))
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):
        picture.putalpha(Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
    return picture


def _from_floats(image: Any) -> Image.Image:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(f"values from {low:g} to {high:g}: floating-point values have to lie in 0..1")
    return Image.fromarray(np.rint(values * np.float32(255)).astype(np.uint8))


def _of_16_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of 16 bits as 8 bits: v / 257, to the nearest."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _flat(image: Image.Image, background: tuple[int, int, int], kinds: set[str]) -> Image.Image:
    """A picture of any mode of 8 bits as RGB, what is transparent laid over the background."""
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    if not ("transparency" in image.info or image.mode[-1] in "Aa" or palette.endswith("A")):
        return image.convert("RGB")
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert(image.mode[:-1] + "A")
    if image.mode == "1":  # of which not every version of Pillow makes the colour that is transparent so
        hidden, image = image.info["transparency"], image.convert("L")
        image.info["transparency"] = 255 if hidden else 0  # white is 1 to some
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    picture = image.convert("RGB")
    if alpha.getextrema()[0] == 255:
        return picture
    kinds.add("transparent")
    over = Image.new("RGB", image.size, background)
    over.paste(picture, mask=alpha)
    return over


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1 where there is none or it cannot be read: the picture itself can."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # whatever a damaged block makes of Pillow's parser
        return 1
