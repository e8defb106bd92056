"""Sinkhorn clustering against its definition in loops, and what becomes of its centres."""

import math

import pytest
import torch

from atc.core import Stage
from reducers.sinkhorn import Sinkhorn
from tests.reducers.views import random_view


def reducer(keep=7, dim=8, **arguments):
    torch.manual_seed(3)
    return Sinkhorn(Stage(4, dim, keep), **arguments).double()


def logsumexp(values):
    return math.log(sum(math.exp(value) for value in values))


def transported(centres, tokens, iterations, eps):
    """[K][N] numbers of one image: what each unit centre gets of each unit token."""
    k, n = len(centres), len(tokens)
    z = [[float(v @ x / v.norm() / x.norm()) / eps for x in tokens] for v in centres]
    marginal = -math.log(k + n)
    to_tokens = [0.0] * n
    for _ in range(iterations):
        to_centres = [marginal - logsumexp(z[i][j] + to_tokens[j] for j in range(n)) for i in range(k)]
        to_tokens = [marginal - logsumexp(z[i][j] + to_centres[i] for i in range(k)) for j in range(n)]
    return [[math.exp(z[i][j] + to_centres[i] + to_tokens[j] - marginal) for j in range(n)] for i in range(k)]


@pytest.mark.parametrize(("iterations", "eps"), [(3, 1.0), (1, 0.3), (6, 0.05)])
def test_centres_share_the_unit_vectors_of_tokens(iterations, eps):
    view, made = random_view(prefix=1), reducer(iterations=iterations, eps=eps)
    plan, centres = made(view, 7), made.centres.detach()
    prefix = torch.randn(2, 1, 8).double()
    found, _ = plan.apply(torch.cat([prefix, view.x], dim=1), view.size, view.size, 1)
    assert torch.equal(found[:, :1], prefix)
    for image in range(2):
        expected = torch.tensor(transported(centres, view.x[image], iterations, eps), dtype=torch.float64)
        torch.testing.assert_close(plan.weights[image], expected, rtol=1e-10, atol=1e-12)
        unit = torch.stack([x / x.norm() for x in view.x[image]])
        torch.testing.assert_close(found[image, 1:], expected @ unit, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(plan.weights.sum(1), torch.ones(2, 23).double())


def test_centres_get_about_the_same():
    view = random_view()
    given = reducer(iterations=50)(view, 7).weights.sum(2)
    torch.testing.assert_close(given, torch.full((2, 7), 23 / 7).double(), rtol=1e-6, atol=0)


def gradient_of(made, view):
    made.zero_grad()
    plan = made(view, 7)
    total = (plan.apply(view.x, view.size, view.size, 0)[0] * torch.linspace(-1, 1, 56).reshape(7, 8)).sum()
    total.backward()
    return made.centres.grad


def test_centres_and_their_gradient():
    view, ours, theirs = random_view(), reducer(), reducer(as_released=True)
    before = ours.centres.detach().clone()
    unit = before / before.norm(dim=1, keepdim=True)
    free, kept = gradient_of(theirs.train(), view), gradient_of(ours.train(), view)
    torch.testing.assert_close(theirs.centres.detach(), unit)
    assert torch.equal(ours.centres, before)
    # by default that of the unit vectors, without the part along them, over the length of the centres
    along = (free * unit).sum(1, keepdim=True)
    assert along.abs().max() > 1e-6 * free.abs().max()
    torch.testing.assert_close(kept, (free - along * unit) / before.norm(dim=1, keepdim=True))


def test_evaluation_changes_no_parameter():
    view, theirs = random_view(), reducer(as_released=True).eval()
    before = theirs.centres.detach().clone()
    found = theirs(view, 7).weights
    assert torch.equal(theirs.centres, before)
    torch.testing.assert_close(found, reducer()(view, 7).weights)


def test_two_forwards_before_a_backward():
    view, theirs = random_view(), reducer(as_released=True).train()
    first = theirs(view, 7).weights[:, 0].sum()
    (first + theirs(view, 7).weights[:, 1].sum()).backward()
    assert theirs.centres.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_the_tokens(dtype):
    view = random_view()
    half = view._replace(x=(view.x * torch.tensor([1e-3, 300.0])[:, None, None]).to(dtype))
    made = reducer()
    exact = made(view._replace(x=half.x.double()), 7)
    found = made.to(dtype)(half, 7)
    assert found.weights.dtype == torch.float32
    torch.testing.assert_close(found.weights.double(), exact.weights, rtol=0.03, atol=0)
    assert found.apply(half.x, view.size, view.size, 0)[0].isfinite().all()


def test_a_zero_token_gives_no_nan():
    view, made = random_view(), reducer()
    x = view.x.clone()
    x[0, 3] = 0
    x = x.requires_grad_()
    plan = made(view._replace(x=x), 7)
    plan.apply(x, view.size, view.size, 0)[0].square().sum().backward()
    assert x.grad.isfinite().all()
    assert made.centres.grad.isfinite().all()
