"""Files are there whole or not at all."""

import errno
import json
import os
from pathlib import Path

import pytest

from atc.files import json_text, same_file, whole_file, write_json, write_whole


def test_replaces_and_makes_directories(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a" / "b.txt", "é")
    assert path.read_text(encoding="utf-8") == "é"
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = write_whole(tmp_path / "a.txt", "old")
    with pytest.raises(type(error)):
        _cut(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match=r"a\.txt") as caught:
        _cut(path, OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"), whole_file(tmp_path / "a.txt", "w") as file:
        file.write((tmp_path / "missing.txt").read_text())


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    file = write_whole(tmp_path / "a.txt", "old")
    (tmp_path / "link.txt").symlink_to(file)
    write_whole(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert file.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        write_whole(tmp_path, "text")


@pytest.mark.parametrize("letter", ["a", "é", "字", "🐈"])
def test_the_longest_names(tmp_path: Path, letter: str) -> None:
    name = letter * (255 // len(letter.encode()))
    assert write_whole(tmp_path / name, "text").read_text() == "text"


def test_one_file_under_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_whole(tmp_path / "a.txt", "text")
    (tmp_path / "link.txt").symlink_to(file)
    os.link(file, tmp_path / "hard.txt")
    (tmp_path / "folder").mkdir()
    for name in ("a.txt", "./folder/../a.txt", "link.txt", "hard.txt"):
        assert same_file(file, name)
    assert same_file("new.txt", "folder/../new.txt")
    write_whole("copy.txt", "text")
    assert not same_file(file, "copy.txt")
    assert not same_file(file, "new.txt")


def test_json_is_strict() -> None:
    text = json_text({"a": float("nan"), "b": [float("inf"), 1.5], "c": (1, -float("inf"))})
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": [1, None]}
    assert "NaN" not in text


def _cut(path: Path, error: BaseException) -> None:
    with whole_file(path, "w") as file:
        file.write("half")
        raise error


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.json"
    assert write_json(file, {"a": float("nan")}, indent=None) == file
    assert file.read_text() == '{"a": null}\n'
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert file.read_text() == '{"a": null}\n'
