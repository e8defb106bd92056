"""Traces: what a forward pass did to its tokens."""

import pytest
import torch

from atc.core.trace import StageTrace, Trace


def test_unmerge_gives_patches_the_value_of_their_token() -> None:
    source = torch.tensor([[1, 0, -1, 1], [0, 1, 1, 0]])
    size = torch.tensor([[1.0, 2.0], [2.0, 2.0]])
    trace = Trace([StageTrace(4, 4, 2, source, size, source)])
    tokens = torch.tensor([[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0], [4.0, 40.0]]])
    found = trace.unmerge(tokens, fill=-7.0)
    assert found.tolist() == [
        [[2.0, 20.0], [1.0, 10.0], [-7.0, -7.0], [2.0, 20.0]],
        [[3.0, 30.0], [4.0, 40.0], [4.0, 40.0], [3.0, 30.0]],
    ]
    assert Trace().unmerge(tokens) is tokens
    with pytest.raises(ValueError, match=r"tokens must be \[2, 2, C\].* got \[2, 3, 2\]"):
        trace.unmerge(torch.zeros(2, 3, 2))
