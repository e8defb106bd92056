"""Gates: methods that choose the tokens of one block only."""

import pytest
import torch

import atc
from atc.core import BlockGate, Select
from tests.vit.wrapped import images, vit


class Bright(BlockGate):
    """The tokens with a positive first channel, and one at least; padded to the most of the batch."""

    def forward(self, view):
        score = view.x[..., 0]
        ranked, indices = score.sort(dim=1, descending=True)
        count = (ranked > 0).sum(1).clamp_min(1)
        most = int(count.max())
        valid = torch.arange(most) < count[:, None]
        return Select(indices[:, :most], view.x.shape[1], valid=valid)

    def losses(self, plans, context=None):
        return {"kept": sum(plan.valid.double().mean() for plan in plans)}


def run(model, pictures, gates):
    stream = model.start(pictures)
    for number in range(1, model.depth + 1):
        stream.step(number, gates.get(number))
    return stream


@torch.no_grad()
def test_tokens_that_are_not_chosen_pass_by():
    host = vit().double()
    model, pictures, gate = atc.wrap(host, "none"), images(4).double(), Bright()
    before = run_until(model, pictures, 2)
    plan = gate(before.view(before.x))
    assert len(set(plan.valid.sum(1).tolist())) > 1  # images choose different numbers
    after = run_until(model, pictures, 2)
    after.step(3, gate)
    for b in range(4):
        chosen = plan.indices[b, plan.valid[b]]
        # the block as it is, over CLS and these tokens of this image
        alone = host.blocks[2](torch.cat([before.x[b : b + 1, :1], before.x[b : b + 1, 1:][:, chosen]], dim=1))
        expected = before.x[b].clone()
        expected[torch.cat([torch.zeros(1).long(), chosen + 1])] = alone[0]
        torch.testing.assert_close(after.x[b], expected, rtol=0, atol=1e-12)
    ((used, _),) = after.gates
    assert used is gate
    assert gate.losses([plan])["kept"] > 0


def run_until(model, pictures, last):
    stream = model.start(pictures)
    for number in range(1, last + 1):
        stream.step(number)
    return stream


@torch.no_grad()
def test_a_block_that_reduces_takes_no_gate():
    model = atc.wrap(vit(), "tome", 0.5, blocks=(2, 3))
    with pytest.raises(ValueError, match="block 2 takes no gate"):
        run(model, images(), {2: Bright()})
    assert run(model, images(), {1: Bright(), 4: Bright()}).num_tokens == 4


def test_gradients_reach_tokens_that_pass_by_and_those_chosen():
    model = atc.wrap(vit().train(), "none")
    stream = run(model, images(), {3: Bright()})
    stream.finish().sum().backward()
    assert atc.unwrap(model).patch_embed.proj.weight.grad.abs().sum() > 0
