"""One reader for every picture, whatever it is stored as."""

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.io import decode
from datamodules.io.pictures import colour, read_rgb
from datamodules.scenes import draw

GENERATOR = np.random.default_rng(7)
WIDE = GENERATOR.integers(0, 65_536, (9, 12, 4)).astype(np.uint16)
WIDE[0, :2] = (0, 0, 0, 0), (65_535,) * 4


def eighth(values: np.ndarray) -> np.ndarray:
    """v / 257 to the nearest, by floats."""
    return np.rint(values.astype(np.float64) / 257).astype(np.uint8)


def over(rgb: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(rgb * share + np.array(background) * (1 - share)).astype(np.uint8)


def png(values: np.ndarray, kind: int, bits: int = 16, hidden: bytes = b"") -> bytes:
    """A PNG file of big-endian samples; kind: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA; hidden: its tRNS chunk."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = values.astype(">u2" if bits == 16 else np.uint8)
    if bits < 8:
        rows = np.packbits(np.unpackbits(rows[..., None], axis=-1)[..., 8 - bits :].reshape(len(rows), -1), axis=1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + (chunk(b"tRNS", hidden) if hidden else b"") + body + chunk(b"IEND", b"")


def tiff(values: np.ndarray, order: str, tags: dict[int, Any], planes: bool = False) -> bytes:
    """An uncompressed TIFF file of one strip (or a strip a plane); order: "<" or ">"."""
    data = (values.transpose(2, 0, 1) if planes else values).astype(values.dtype.newbyteorder(order)).tobytes()
    samples = values.shape[2] if values.ndim == 3 else 1
    strips = samples if planes else 1
    found: dict[int, Any] = {
        **{256: values.shape[1], 257: values.shape[0], 258: (values.itemsize * 8,) * samples, 259: 1},
        **{262: 1 if samples == 1 else 2, 277: samples, 278: values.shape[0], 284: 2 if planes else 1},
        **{273: tuple(8 + i * len(data) // strips for i in range(strips)), 279: (len(data) // strips,) * strips},
        **tags,
    }
    entries, extra, at = b"", b"", 8 + len(data) + 2 + 12 * len(found) + 4
    for tag, value in sorted(found.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = packed if len(packed) <= 4 else struct.pack(f"{order}I", at + len(extra))
        extra += packed if len(packed) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + place
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return start + data + struct.pack(f"{order}H", len(found)) + entries + bytes(4) + extra


def read(tmp_path: Path, content: bytes, name: str = "picture.png", **settings: Any) -> np.ndarray:
    path = tmp_path / name
    path.write_bytes(content)
    picture = read_rgb(path, **settings)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def kinds(content: bytes) -> set[str]:
    return set(decode.decode(io.BytesIO(content))[1])


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "LAB"])
def test_ordinary_pictures_are_read_as_pillow_converts_them(tmp_path: Path, format: str, mode: str) -> None:
    picture = Image.fromarray(draw(3, 40).image)
    if mode == "LAB":
        picture = Image.merge("LAB", picture.split())
    elif mode != "RGB":
        picture = picture.convert(mode)
    try:
        content = saved(picture, format)
        with Image.open(io.BytesIO(content)) as opened:
            stored, expected = opened.mode, np.asarray(opened.convert("RGB"))
    except (OSError, ValueError):
        return  # a mode that this format has no room for
    if stored == "RGBA":
        return  # what earlier versions of Pillow make of LAB
    assert (read(tmp_path, content) == expected).all()
    assert not kinds(content)


@pytest.mark.parametrize(("kind", "channels"), [(0, [0]), (2, [0, 1, 2]), (4, [0, 3]), (6, [0, 1, 2, 3])])
def test_png_of_16_bits(tmp_path: Path, kind: int, channels: list[int]) -> None:
    found = read(tmp_path, png(WIDE[..., channels], kind))
    expected = eighth(WIDE[..., channels])
    if kind in (4, 6):
        expected = over(np.broadcast_to(expected[..., :-1], (*WIDE.shape[:2], 3)), expected[..., -1])
    assert np.abs(found.astype(int) - expected).max() <= (kind in (4, 6))
    assert "16-bit" in kinds(png(WIDE[..., channels], kind))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_of_16_bits(tmp_path: Path, order: str, compression: str | None) -> None:
    for values in (WIDE[..., 0], WIDE[..., :3]):
        if compression is None:
            content = tiff(values, order, {})
        elif values.ndim == 2:
            content = saved(Image.fromarray(values), "TIFF", compression=compression)
        else:
            continue  # Pillow writes none
        assert (read(tmp_path, content, "a.tif") == eighth(values.reshape(9, 12, -1))).all()
        assert kinds(content) == {"16-bit"}
    inverted = tiff(WIDE[..., 0], "<", {262: 0})  # 0 is white
    assert (read(tmp_path, inverted) == eighth(65_535 - WIDE[..., 0])[..., None]).all()
    with pytest.raises(ValueError, match=r"a\.tif is not an image .*: a TIFF file of uncompressed colour planes"):
        read(tmp_path, tiff(WIDE[..., :3], order, {}, planes=True), "a.tif")


def test_integers_of_32_bits_count_as_16(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129], [257, 4_000, 65_535]], dtype=np.int32)
    content = saved(Image.fromarray(values), "TIFF")
    assert (read(tmp_path, content) == eighth(values)[..., None]).all()
    for strange, said in ((65_536, "128 to 65,536"), (-1, "-1 to 65,535")):
        values[0, 0] = strange
        with pytest.raises(ValueError, match=rf"a\.tif is not an image .*: values from {said}: integers"):
            read(tmp_path, saved(Image.fromarray(values), "TIFF"), "a.tif")


def test_a_dark_picture_stays_dark(tmp_path: Path) -> None:
    """A camera's 12 bits in 16: nothing is stretched to what one picture holds."""
    values = np.full((4, 4), 4_095, dtype=np.uint16)
    assert (read(tmp_path, saved(Image.fromarray(values), "PNG")) == 16).all()


def test_floats(tmp_path: Path) -> None:
    values = np.array([[0, 0.5, 1], [0.25, 0.1, 0.999]], dtype=np.float32)
    content = saved(Image.fromarray(values), "TIFF")
    assert (read(tmp_path, content) == np.rint(values * 255).astype(np.uint8)[..., None]).all()
    assert kinds(content) == {"floating-point"}
    for strange in (-0.01, 1.5, 255.0, float("nan"), float("inf")):
        values[0, 0] = strange
        with pytest.raises(ValueError, match=r"a\.tif is not an image .*: values from .* have to lie in 0\.\.1"):
            read(tmp_path, saved(Image.fromarray(values), "TIFF"), "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(tmp_path: Path, orientation: int, format: str) -> None:
    picture = Image.fromarray(draw(3, 40).image).crop((0, 0, 40, 24))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    content = saved(picture, format, exif=exif, **options)
    stored = Image.open(io.BytesIO(saved(picture, format, **options))).convert("RGB")
    method = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)  # Image.Transpose
    upright = stored if method is None else stored.transpose(Image.Transpose(method))
    assert (read(tmp_path, content) == np.asarray(upright)).all()
    assert kinds(content) == ({"turned by EXIF"} if orientation > 1 else set())
    if format != "TIFF":  # which Pillow, and so torchvision, turns as well
        assert (read(tmp_path, content, exif=False) == np.asarray(stored)).all()


def test_damaged_exif_does_not_make_a_picture_unreadable(tmp_path: Path) -> None:
    picture = Image.fromarray(draw(3, 40).image)
    for block in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        content = saved(picture, "JPEG", exif=block)
        assert (read(tmp_path, content) == np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))).all()


def test_transparency_is_laid_over_the_background(tmp_path: Path) -> None:
    rgb, alpha = draw(3, 40).image, GENERATOR.integers(0, 256, (40, 40)).astype(np.uint8)
    picture = Image.fromarray(np.dstack([rgb, alpha]))
    for background in ((255, 255, 255), (0, 128, 7)):
        found = read(tmp_path, saved(picture, "PNG"), background=background)
        assert np.abs(found.astype(int) - over(rgb, alpha, background)).max() <= 1
    assert kinds(saved(picture, "PNG")) == {"transparent"}
    opaque = Image.fromarray(np.dstack([rgb, np.full_like(alpha, 255)]))
    assert (read(tmp_path, saved(opaque, "PNG")) == rgb).all()
    assert not kinds(saved(opaque, "PNG"))
    for content in (
        saved(picture.convert("LA"), "PNG"),
        saved(picture, "WEBP", lossless=True, exact=True),
        saved(picture, "TIFF"),
    ):
        shown = read(tmp_path, content)
        clear = alpha == 0
        assert (shown[clear] == 255).all()
        assert kinds(content) == {"transparent"}


@pytest.mark.parametrize(
    ("kind", "bits", "hidden"),
    [(0, 1, 1), (0, 2, 2), (0, 4, 9), (0, 8, 77), (0, 16, 30_001), (2, 8, (3, 4, 5)), (2, 16, (3, 40_000, 5))],
)
def test_a_transparent_colour(tmp_path: Path, kind: int, bits: int, hidden: Any) -> None:
    """PNG's tRNS: of pixels that differ in the last bit only one is transparent."""
    samples = hidden if isinstance(hidden, tuple) else (hidden,)
    values = np.array([[samples, [value ^ 1 for value in samples]]], dtype=np.uint16)
    content = png(values[..., 0] if kind == 0 else values, kind, bits, struct.pack(f">{len(samples)}H", *samples))
    found = read(tmp_path, content)
    assert (found[0, 0] == 255).all()
    shown = np.rint((values[0, 1] / (2**bits - 1)) * 255)
    assert (found[0, 1] == shown).all()
    assert "transparent" in kinds(content)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_entry(tmp_path: Path, format: str) -> None:
    picture = Image.fromarray(draw(3, 40).image).quantize(16)
    content = saved(picture, format, transparency=5)
    index = np.asarray(Image.open(io.BytesIO(content)))
    hidden = index == Image.open(io.BytesIO(content)).info["transparency"] if format == "GIF" else index == 5
    assert hidden.any()
    assert (read(tmp_path, content)[hidden] == 255).all()


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), name) for name in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        content = saved(frames[0], format, save_all=True, append_images=frames[1:])
        assert np.abs(read(tmp_path, content).astype(int) - (255, 0, 0)).max() < 9, format


def test_what_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(png(WIDE[..., 0], 0))
    content[16:24] = struct.pack(">II", 13_000, 13_000)  # 169 megapixels by the header
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    with pytest.raises(ValueError, match=r"a\.png is not an image that can be read: 13,000 x 13,000 pixels, more than"):
        read(tmp_path, bytes(content), "a.png")
    strip = saved(Image.new("L", (1, 501)), "PNG")  # 256 pixels wide it would have a side of 128,256
    with pytest.raises(ValueError, match="1 x 501 pixels: one side is more than 500 times the other"):
        read(tmp_path, strip)
    monkeypatch.setattr("datamodules.io.pictures.MAX_BYTES", 100)
    with pytest.raises(ValueError, match=r"bytes, of which at most 100 are read"):
        read(tmp_path, saved(Image.new("L", (300, 300)), "BMP"))


def test_formats_that_other_programs_read_are_not_opened(tmp_path: Path) -> None:
    """Pillow would start Ghostscript on a received file."""
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(ValueError, match=r"a\.jpg is not an image that can be read: not a picture"):
        read(tmp_path, content, "a.jpg")
    assert not {".eps", ".ps", ".pdf", ".wmf", ".h5", ".mpg"} & decode.suffixes()
    assert {".jpg", ".jfif", ".gif", ".webp", ".tif"} <= decode.suffixes()


def test_whatever_is_damaged_is_named(tmp_path: Path) -> None:
    """No error of Pillow's leaves without the picture's name."""
    draws = random.Random(3)
    for format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "TGA", "ICO", "DDS", "SGI", "PCX"):
        whole = saved(Image.fromarray(draw(3, 32).image), format)
        for _ in range(25):
            content = bytearray(whole)
            for _ in range(4):
                content[draws.randrange(min(len(content), 120))] = draws.randrange(256)
            said = None
            try:
                read(tmp_path, bytes(content), "a.bin")
            except ValueError as error:
                said = str(error)
            assert said is None or said.startswith(f"{tmp_path}/a.bin is not an image that can be read: ")


@pytest.mark.parametrize(
    ("setting", "found"),
    [(None, (255, 255, 255)), ("black", (0, 0, 0)), ("#102030", (16, 32, 48)), ([1, 2, 3], (1, 2, 3))],
)
def test_background(setting: Any, found: tuple[int, int, int]) -> None:
    assert colour(setting) == found


@pytest.mark.parametrize(
    "setting", ["noir", "#12", "#11223344", [1, 2], [1, 2, 256], [1, 2, True], 7, {}, [0.5, 1, 1], ""]
)
def test_what_is_no_background(setting: Any) -> None:
    with pytest.raises(ValueError, match=r"datamodule.background=.* is no colour such as white"):
        colour(setting)
