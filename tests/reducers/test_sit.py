"""SiT against its definition in loops."""

import torch
from torch.nn import functional as F

from atc.core import Stage
from reducers.sit import SiT
from tests.reducers.views import random_view


def reducer(keep=7, dim=8, **arguments):
    torch.manual_seed(3)
    made = SiT(Stage(4, dim, keep), **arguments).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def test_every_output_is_a_mean_over_all_tokens():
    for as_released in (False, True):
        view, made = random_view(), reducer(as_released=as_released)
        found = made(view, 7).reduce(view.x, view.size)
        norm, enter, _, leave = made.score
        for image in range(2):
            scores = torch.stack(
                [
                    made.scale.squeeze() * leave(F.gelu(enter(F.layer_norm(x, (8,), norm.weight, norm.bias, 1e-5))))
                    for x in view.x[image]
                ]
            )  # [N, K]
            for output in range(7):
                shares = scores[:, output].exp() / scores[:, output].exp().sum()
                expected = sum(share * x for share, x in zip(shares, view.x[image], strict=True))
                torch.testing.assert_close(found[image, output], expected, rtol=0, atol=1e-12)


def test_the_bias_of_the_last_layer_has_no_effect():
    view, with_bias, without = random_view(), reducer(as_released=True), reducer()
    without.load_state_dict(with_bias.state_dict())  # that bias is left out
    with torch.no_grad():
        with_bias.score[3].bias.add_(torch.arange(7.0))
        torch.testing.assert_close(with_bias(view, 7).weights, without(view, 7).weights, rtol=0, atol=1e-12)
    assert without.score[3].bias is None


def test_layers_start_as_the_authors_have_them():
    made = SiT(Stage(4, 64, 50), as_released=True)
    assert made.scale.tolist() == [[[1.0]]]
    for layer in (made.score[1], made.score[3]):
        assert 0.015 < layer.weight.std() < 0.025
        assert not layer.bias.any()
