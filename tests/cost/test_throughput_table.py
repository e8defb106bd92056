"""The combination that a row of a throughput measurement is about, in words."""

import json

import pytest

from atc.cost.throughput_table import WHERE, where


@pytest.mark.parametrize(("keep_rate", "words"), [(0.5, "0.5"), ((0.9, 0.7, 0.5), "[0.9,0.7,0.5]"), (None, "")])
def test_keep_rates_are_shown_as_they_are_typed(keep_rate: object, words: str) -> None:
    row = {"batch_size": 2, "precision": "fp32", "compile": False, "reducer": "topk", "keep_rate": keep_rate}
    assert where(row)[WHERE.index("keep_rate")] == words
    assert where(json.loads(json.dumps(row))) == where(row)  # as the file of results has it
