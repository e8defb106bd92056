"""PatchMerger against its definition in loops."""

import torch
from torch.nn import functional as F

from atc.core import Stage
from reducers.patch_merger import PatchMerger
from tests.reducers.views import random_view


def test_queries_attend_to_normalised_tokens():
    torch.manual_seed(3)
    view, made = random_view(prefix=2), PatchMerger(Stage(4, 8, 7)).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    prefix = torch.randn(2, 2, 8).double()
    plan = made(view, 7)
    found, _ = plan.apply(torch.cat([prefix, view.x], dim=1), view.size, view.size, 2)
    assert torch.equal(found[:, :2], prefix)
    for image in range(2):
        tokens = [F.layer_norm(x, (8,), made.norm.weight, made.norm.bias, 1e-5) for x in view.x[image]]
        for output in range(7):
            scores = torch.stack([made.queries[output] @ x for x in tokens])
            expected = sum(share * x for share, x in zip(scores.exp() / scores.exp().sum(), tokens, strict=True))
            torch.testing.assert_close(found[image, 2 + output], expected, rtol=0, atol=1e-12)


def test_layers_start_as_the_authors_have_them():
    made = PatchMerger(Stage(4, 64, 50))
    assert 0.9 < made.queries.std() < 1.1
    assert (made.norm.weight == 1).all()
    assert made.norm.eps == 1e-5
