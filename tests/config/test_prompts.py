"""The file of task.prompts: names and sentences in its order; mistakes in it are among tests/mistakes/frozen.py."""

import hashlib
from pathlib import Path

import pytest

from atc.config import prompts


def test_names_and_sentences(tmp_path: Path) -> None:
    file = tmp_path / "p.tsv"
    content = "\ufeffsea lion\ta {}.\r\ncrane (bird)\ta {}, or {}\r\n\r\nsea lion\tmany {}s\r\n".encode()
    file.write_bytes(content)
    found = prompts.read(file)
    assert list(found.texts.items()) == [
        ("sea lion", ("a sea lion.", "many sea lions")),
        ("crane (bird)", ("a crane (bird), or crane (bird)",)),
    ]
    assert found.described() == {"sha256": hashlib.sha256(content).hexdigest(), "classes": 2, "texts": 3}


def test_braces_and_dollars_are_text(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("${seed}\t{} {0} {x}\nb\t%s {}\n")
    assert list(prompts.read(tmp_path / "p.tsv").texts.values()) == [("${seed} {0} {x}",), ("%s b",)]


@pytest.mark.parametrize("number", [1, 3])
def test_other_classes(number: int, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("a\t{}\nb\t{}\n")
    with pytest.raises(ValueError, match=rf"names 2 classes, and datamodule=digits has {number}: one name for each"):
        prompts.check_classes(prompts.read(tmp_path / "p.tsv"), number, "p.tsv", "digits")
