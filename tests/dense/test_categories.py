"""What labels stand for."""

import json
from pathlib import Path

import pytest

from atc.dense import categories


def test_cocos_are_eighty_with_gaps_in_their_ids() -> None:
    found = categories.of_coco()
    ids = [one["id"] for one in found]
    assert len(found) == 80
    assert ids == sorted(set(ids))
    assert set(range(1, 91)) - set(ids) == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    named = {one["id"]: one["name"] for one in found}
    assert (named[1], named[13], named[18], named[90]) == ("person", "stop sign", "dog", "toothbrush")


def test_those_of_a_run_go_before_those_of_its_data_and_cocos(tmp_path: Path) -> None:
    of_run, of_data = [{"id": 4, "name": "cat"}], [{"id": 9, "name": "dog"}]
    assert categories.of_detector(1, tmp_path, of_data) == of_data
    categories.write(tmp_path, [{**of_run[0], "supercategory": "animal"}])
    assert categories.read(tmp_path) == of_run
    assert categories.of_detector(1, tmp_path, of_data) == of_run
    assert categories.of_detector(80, tmp_path, of_data) == categories.of_coco(), "another detector than the run's"
    assert categories.of_detector(2, None) == [{"id": 1, "name": "class 1"}, {"id": 2, "name": "class 2"}]


@pytest.mark.parametrize(
    "content", ["{", "7", "[7]", '[{"id": "1", "name": "a"}]', '[{"id": 1}]', '[{"id": true, "name": "a"}]']
)
def test_damaged_ones_are_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / categories.FILE).write_text(content)
    with pytest.raises(ValueError, match=r"categories.json .* it must be a list such as") as caught:
        categories.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_are_fit_for_a_terminal(tmp_path: Path) -> None:
    (tmp_path / categories.FILE).write_text(json.dumps([{"id": 1, "name": "a\x1b[31m"}]))
    assert "\x1b" not in (categories.read(tmp_path) or [])[0]["name"]
