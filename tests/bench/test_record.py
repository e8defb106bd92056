"""Result files."""

import json
import math
from pathlib import Path

import pytest

from atc.bench.record import write


def test_strict_json_a_row_a_line(tmp_path: Path) -> None:
    file = tmp_path / "new" / "result.json"
    write(
        file, {"seconds": 1}, [{"ms": 1.5, "name": "a"}, {"ms": math.nan, "name": "b"}, {"ms": math.inf, "name": "c"}]
    )
    found = json.loads(file.read_text(), parse_constant=lambda text: pytest.fail(text))
    assert found["rows"] == [{"ms": 1.5, "name": "a"}, {"ms": None, "name": "b"}, {"ms": None, "name": "c"}]
    assert found["settings"] == {"seconds": 1}
    assert '  {"ms": 1.5, "name": "a"},\n' in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["result.json"]
