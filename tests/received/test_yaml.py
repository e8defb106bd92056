"""A file of settings that is no such thing ends in one line, at once."""

import os
import re
import time
from pathlib import Path

import pytest

from atc.received import load_settings, shown


def bomb(levels: int = 12, width: int = 9) -> str:
    lines = ["a0: &a0 [" + ", ".join(["x"] * width) + "]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * width) + "]" for i in range(1, levels)]
    return "\n".join(lines)


MERGES = "a: &a {x: 1}\n" + "\n".join(f"b{i}: &b{i}\n  <<: [{', '.join(['*a'] * 200)}]" for i in range(200))
WRONG = {
    "empty": (b"", "it is empty"),
    "only a comment": (b"# nothing\n", "it is empty"),
    "list": (b"- a\n- b\n", "it is a list"),
    "scalar": (b"seven", "it is a single value"),
    "binary": (bytes(range(256)), "not text in UTF-8|not readable YAML"),
    "nul": (b"a: \x00", "not readable YAML"),
    "cyclic": (b"a: &a\n  b: *a\n", "stands within what it names"),
    "cyclic list": (b"a: &a [*a]\n", "stands within what it names"),
    "unknown alias": (b"a: *b\n", "or names nothing"),
    "alias bomb": (bomb().encode(), "more than 20,000 values"),
    "merge bomb": (MERGES.encode(), "more than 20,000 values"),
    "deep": (b"a: " + b"[" * 1000 + b"]" * 1000, "nested more than 40 levels"),
    "deep mapping": (b"a: " + b"{a: " * 1000 + b"}" * 1000, "nested more than 40 levels"),
    "deep interpolation": (b"a: '" + b"${" * 900 + b"'", "holds no settings"),
    "many interpolations": (b"a: '" + b"${b}" * 1001 + b"'", "more than 1,000 interpolations"),
    "large": (b"a: '" + b"x" * (1 << 20) + b"'", "not readable YAML|larger than 256 KiB"),
    "python tag": (b"a: !!python/object/apply:os.system [true]", "not readable YAML"),
    "set": (b"a: !!set {b, c}", "holds no settings"),
    "date": (b"a: 2020-01-01", None),
    "duplicate": (b"a: 1\na: 2\n", "not readable YAML"),
    "unfinished": (b"a: [1, 2\n", "not readable YAML"),
    "two documents": (b"a: 1\n---\nb: 2\n", "not readable YAML"),
    "list as a key": (b"[a, b]: 1\n", "not readable YAML|holds no settings"),
    "huge number": (b"a: " + b"9" * 5000, "holds no settings"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_mapping_of_a_bounded_size(tmp_path: Path, name: str) -> None:
    content, message = WRONG[name]
    path = tmp_path / "composed.yaml"
    path.write_bytes(content)
    begun = time.process_time()
    try:
        load_settings(path)
    except ValueError as error:
        said = str(error)
        assert said.startswith(str(path))
        assert said.isprintable()
        assert len(said) < len(str(path)) + 300
        if message is not None:
            assert re.search(message, said), said
    else:
        assert message is None
    assert time.process_time() - begun < 10


def test_aliases_within_bounds_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text('a: &a {x: 1, y: "${z}"}\nb: *a\nc:\n  <<: *a\n  y: 2\n')
    assert load_settings(path).c == {"x": 1, "y": 2}


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", ".", "nothing"):
        with pytest.raises(FileNotFoundError, match="not a regular file"):
            load_settings(tmp_path / name)


def test_what_a_file_says_does_not_act_on_a_terminal() -> None:
    assert shown("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert shown("x" * 300) == "x" * 200 + "..."
