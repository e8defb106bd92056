"""Radial patterns by the authors' settings."""

import pytest

from atc.config import released

ARGS = {"model": "heuristic_small_patch16_224", "reduction_loc": [3, 6, 9], "reduction_ratio": [0.5]}


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_pattern_is_a_reducer(norm):
    brought = released.settings(ARGS | {"heuristic_pattern": norm, "not_contiguous": True})
    assert brought.options["reducer"] == f"radial_{norm}"
    assert brought.values["as_released"] is True
    assert brought.values["blocks"] == [4, 7, 10]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, r"args.heuristic_pattern is missing, which must be a name"),
        ({"heuristic_pattern": "l3"}, r"reducer=radial_l3; there are the reducers"),
        ({"heuristic_pattern": "l1", "not_contiguous": False}, r"a radius that shrinks at every block"),
        ({"heuristic_pattern": "l1", "not_contiguous": "yes"}, r"args.not_contiguous is 'yes', which must be true or"),
    ],
)
def test_other_settings_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        released.settings(ARGS | args)
