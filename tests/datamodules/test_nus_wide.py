"""NUS-WIDE's CSV."""

from pathlib import Path

import pytest

from datamodules.io.layout import LayoutError
from tests.datamodules.on_disk import load, write_nus_wide


@pytest.mark.parametrize(
    "columns", [("filepath", "label", "split_name"), ("", "split_name", "extra", "label", "filepath")]
)
def test_columns_are_found_by_name(tmp_path: Path, columns: tuple[str, ...]) -> None:
    rows = write_nus_wide(tmp_path, train=14, val=6, columns=columns)
    data = load("nus_wide", tmp_path)
    names = sorted({name for _, labels, _ in rows for name in labels})
    assert data.num_classes == len(names)
    assert data.classes == names
    for part, split in (("train", "train"), ("test", "val")):
        entries, targets = data.released[part]
        expected = [(path, labels) for path, labels, where in rows if where == split]
        assert entries == [str(tmp_path / path) for path, _ in expected]
        for row, (_, labels) in zip(targets.tolist(), expected, strict=True):
            assert row == [name in labels for name in names]


def _edit(root: Path, old: str, new: str) -> None:
    path = root / "nus_wid_data.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_label_is_never_run(tmp_path: Path) -> None:
    rows = write_nus_wide(tmp_path)
    mark = tmp_path / "ran"
    _edit(tmp_path, str(rows[0][1]), f"[open('{mark}', 'w').name]")
    with pytest.raises(ValueError, match=r"nus_wid_data.csv, line 2: the label is not a list: \"\[open"):
        _ = load("nus_wide", tmp_path).num_classes
    assert not mark.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label", "tags", "has no column 'label': its columns are filepath, tags, split_name"),
        (",train", ",dev", "line 2: the split is 'dev', not one of train, val"),
        ("['", "[7, '", "the label is not a list of names"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_nus_wide(tmp_path)
    _edit(tmp_path, old, new)
    with pytest.raises(ValueError, match=message):
        _ = load("nus_wide", tmp_path).num_classes


def test_another_encoding_is_named(tmp_path: Path) -> None:
    write_nus_wide(tmp_path)
    path = tmp_path / "nus_wid_data.csv"
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(ValueError, match=rf"^{path}: 'utf-8' codec can't decode"):
        _ = load("nus_wide", tmp_path).num_classes


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"NUS-WIDE is missing nus_wid_data.csv in ") as error:
        _ = load("nus_wide", tmp_path).num_classes
    assert "Alibaba-MIIL" in str(error.value)
    with pytest.raises(LayoutError, match="the folder data/nus_wide"):
        _ = load("nus_wide", None).num_classes
