"""Methods that learn a layer for each output token."""

import pytest
import timm
import torch

import atc
from atc.core import Stage
from reducers.sinkhorn import Sinkhorn
from tests.reducers.views import random_view

METHODS = ["sit", "sinkhorn", "patch_merger"]


def vit(**arguments):
    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4, num_classes=5, **arguments).eval()


@pytest.mark.parametrize("name", METHODS)
def test_images_of_another_size_are_refused_in_one_line(name):
    model = atc.wrap(vit(dynamic_img_size=True), name, 0.5, blocks=(2, 3))
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 5)
    with pytest.raises(ValueError, match=r"at block 2: learns 8 output tokens and cannot leave 18: .* image size"):
        model(torch.rand(1, 3, 96, 96))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("schedule", [{"keep_rate": 0.3, "blocks": (1, 4)}, {"schedule": "constant", "t": 3}])
def test_any_schedule_trains_and_compiles(name, schedule):
    torch.manual_seed(0)
    model = atc.wrap(vit(), name, **schedule).train()
    images, labels = torch.rand(4, 3, 64, 64), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(6):
        losses = atc.training_losses(model, images, labels)
        optimizer.zero_grad()
        losses["total"].backward()
        assert all(parameter.grad is not None for parameter in model.reducers.parameters())
        optimizer.step()
        totals.append(losses["total"].item())
    assert totals[-1] < totals[0]
    sizes = [stage.size.sum(1) for stage in model.trace]
    torch.testing.assert_close(torch.stack(sizes), torch.full((len(sizes), 4), 16.0))


def test_released_sinkhorn_trains_in_a_whole_graph():
    torch.compiler.reset()
    torch.manual_seed(0)
    view = random_view()
    reducer = Sinkhorn(Stage(4, 8, 7), as_released=True).double().train()

    def total(x, size):
        return reducer(view._replace(x=x, size=size), 7).apply(x, size, size, 0)[0].pow(3).sum()

    found = []
    for run in (torch.compile(total, fullgraph=True, backend="aot_eager"), total):
        torch.nn.init.normal_(reducer.centres, generator=torch.Generator().manual_seed(1))
        reducer.centres.grad = None
        run(view.x, view.size).backward()
        torch.testing.assert_close(reducer.centres.norm(dim=1), torch.ones(7).double())
        found.append(reducer.centres.grad)
    torch.testing.assert_close(*found)
