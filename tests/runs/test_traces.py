"""The files of a trace: what is written comes back, small, and whole or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest

from atc.runs import traces

pytest.importorskip("pyarrow")


ABOUT = {"depth": 12, "merges": False, "run": dict.fromkeys(("reducer", "keep_rate", "backbone", "datamodule"))}


def rows(images: int, side: int, first: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(first)
    patches = side * side
    found: dict[str, np.ndarray] = {"image": np.arange(first, first + images, dtype=np.int32)}
    for block in (4, 7, 10):
        found[f"labels_{block}"] = draw.integers(-1, patches, size=(images, patches))
        found[f"kept_{block}"] = draw.integers(2, size=(images, patches)).astype(bool)
        found[f"tokens_{block}"] = draw.integers(patches, size=images).astype(np.uint16)
    found["cls_12"] = draw.normal(size=(images, 8)).astype(np.float32)
    return found


def written(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As `atc.tasks.traced` gives them to the writer."""
    forms = {"labels": traces.packed, "kept": lambda bits: np.packbits(bits, axis=1)}
    return {name: forms.get(name.split("_")[0], lambda same: same)(values) for name, values in batch.items()}


@pytest.mark.parametrize("side", [3, 14, 15, 16, 24])
def test_what_is_written_comes_back(tmp_path: Path, side: int) -> None:
    writer = traces.TraceWriter(tmp_path, chunk=10)
    batches = [rows(6, side, first) for first in (0, 6, 12)]
    assert [writer.add(written(batch)) for batch in batches] == [False, True, False]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["part-00000.parquet"]
    with pytest.raises(ValueError, match="no finished trace"):
        traces.open_trace(tmp_path)
    writer.finish(images=18, grid=[side, side], blocks=[4, 7, 10], kept=True, cls_features=[12], **ABOUT)
    trace = traces.open_trace(tmp_path)
    assert (trace.parts, trace.images, trace.patches) == (2, 18, side * side)
    for name in batches[0]:
        np.testing.assert_array_equal(trace.whole(name), np.concatenate([batch[name] for batch in batches]))


def test_numbers_have_16_bits_where_8_do_not_do() -> None:
    assert traces.packed(np.full((1, 254), 253)).dtype.itemsize == 1
    assert traces.packed(np.full((1, 255), 254)).dtype.itemsize == 2


def test_fifty_thousand_images_take_less_than_40_mb(tmp_path: Path) -> None:
    batch = rows(1024, 14)
    del batch["cls_12"]
    batch["prediction"] = batch["target"] = np.random.default_rng(0).integers(1000, size=1024).astype(np.int32)
    traces.TraceWriter(tmp_path).add(written(batch))  # random numbers are what compresses least
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size * 50_000 / 1024 < 40e6


def test_other_readers_read_them(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    batch = rows(5, 14)
    traces.TraceWriter(tmp_path, chunk=5).add(written(batch))
    found = duckdb.sql(f"select image, labels_4 from '{tmp_path}/part-*.parquet' order by image").fetchall()
    assert [image for image, _ in found] == [0, 1, 2, 3, 4]
    assert np.frombuffer(found[3][1], np.uint8).tolist() == (batch["labels_4"][3] % 256).tolist()


@pytest.mark.parametrize("text", ["{", "[]", '{"parts": 1}', json.dumps({"parts": 1, "images": 1, "grid": 3})])
def test_what_is_damaged_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "trace.json").write_text(text)
    with pytest.raises(ValueError, match=r"trace\.json is damaged"):
        traces.open_trace(tmp_path)


def test_a_part_that_is_cut_is_named(tmp_path: Path) -> None:
    writer = traces.TraceWriter(tmp_path)
    writer.add(written(rows(5, 3)))
    writer.finish(images=5, grid=[3, 3], blocks=[4, 7, 10], kept=True, cls_features=[12], **ABOUT)
    trace, part = traces.open_trace(tmp_path), tmp_path / "part-00000.parquet"
    with pytest.raises(ValueError, match="has no cls_3"):
        trace.whole("cls_3")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"part-00000.parquet cannot be read"):
        trace.whole("image")
    with pytest.raises(ValueError, match=r"has no trace; evaluate\.py trace=true"):
        traces.open_trace(tmp_path / "elsewhere")
