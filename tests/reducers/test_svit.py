"""SViT against its definition in loops, in a classifier; `tests/dense/test_svit.py` has the detector."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F

import atc
from atc.core import Constant, Select, Stage
from atc.cost.flops import gflops_by_formula, gflops_per_image
from reducers.svit import SViT
from tests.reducers.views import random_view
from tests.vit.wrapped import images, vit


def gate(**arguments):
    torch.manual_seed(3)
    made = SViT(Stage(5, 8, 9, depth=12, number=2, rate=0.49), **arguments).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    torch.nn.init.zeros_(made.mlp.fc2.bias)
    return made


def logits_of(made, token):
    hidden = F.layer_norm(token, (8,), made.norm.weight, made.norm.bias, eps=1e-5)
    return made.mlp.fc2(F.gelu(made.mlp.fc1(hidden)))


def lively(model):
    """Gates that choose some tokens and leave out others."""
    torch.manual_seed(5)
    for parameter in model.reducers.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return model


def svit(**settings):
    return lively(atc.wrap(vit().double(), "svit", 0.7, blocks=(2, 4), **settings))


def test_it_chooses_where_to_keep_is_likelier():
    view, made = random_view(), gate().eval()
    plan = made(view, 23)
    for image in range(2):
        wanted = [n for n in range(23) if (pair := logits_of(made, view.x[image, n]).tolist())[0] >= pair[1]]
        assert 0 < len(wanted) < 23
        assert sorted(plan.indices[image][plan.valid[image]].tolist()) == wanted
    assert (made(view, 4).labels >= 0).sum(dim=1).tolist() == [4, 4]  # the likeliest of them, where there is less room


def test_training_chooses_by_gumbel_noise_and_gradients_pass():
    view, made = random_view(), gate().train()
    made.noise = torch.empty(2, 23, 2).double().exponential_(generator=torch.Generator().manual_seed(1))
    plan = made(view, 23)
    soft = torch.zeros(2, 23).double()
    for image in range(2):
        for token in range(23):
            noisy = logits_of(made, view.x[image, token]) - made.noise[image, token].log()
            soft[image, token] = noisy.softmax(0)[0]
            assert plan.valid[image, token] == float(noisy[0] >= noisy[1])
    (expected,) = torch.autograd.grad(soft[0, 3], made.mlp.fc2.bias)
    (found,) = torch.autograd.grad(plan.valid[0, 3], made.mlp.fc2.bias)
    torch.testing.assert_close(found, expected)


def test_the_loss_is_a_mean_over_blocks():
    made = gate().train()
    valid = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    plan = Select(torch.arange(4).expand(2, -1), 4, valid=valid)
    assert made.losses([plan])["ratio"].item() == pytest.approx((5 / 8 - 0.49) ** 2 / 9)  # gates at blocks 4 to 12
    assert made.loss_weights == {"ratio": 4.0}


def test_rates_hold_until_the_next_stage():
    twelve = atc.wrap(vit(), "svit", schedule=Constant(1))
    assert [(int(block), one.stage.rate) for block, one in twelve.reducers.items()] == [
        (1, 15 / 16), (2, 14 / 16), (3, 13 / 16), (4, 12 / 16)
    ]  # fmt: skip
    stages = atc.wrap(vit(), "svit", 0.7, blocks=(2, 4))
    rates = [round(one.stage.rate, 3) for one in stages.reducers.values()]
    assert (list(stages.reducers), rates) == (["2", "3", "4"], [0.7, 0.7, 0.49])
    assert [(count.tokens_in, count.keep) for count in stages.stage_counts] == [(16, 11), (16, 11), (16, 7)]
    assert stages.tokens_per_block() == [16, 11, 11, 7]


def written_out(model, pictures):
    """Each image by itself, each block over CLS and the chosen patches alone: final tokens, and what was chosen."""
    host, tokens, chosen = atc.unwrap(model), [], []
    for picture in pictures:
        x = host._pos_embed(host.patch_embed(picture[None]))[0]
        for number, block in enumerate(host.blocks, start=1):
            kept = list(range(1, len(x)))
            if str(number) in model.reducers:
                made = model.reducers[str(number)]
                logits = made.mlp(made.norm(x[1:]))
                kept = [n + 1 for n in range(len(logits)) if logits[n, 0] >= logits[n, 1]]
                chosen.append(kept)
            new = block(x[[0, *kept]][None])[0]
            x = x.clone()
            x[[0, *kept]] = new
        tokens.append(host.norm(x))
    return torch.stack(tokens), chosen


@torch.no_grad()
def test_only_chosen_patches_are_computed_and_all_are_back():
    model, pictures = svit(), images(4).double()
    tokens, chosen = written_out(model, pictures)
    assert len({len(kept) for kept in chosen}) > 3  # images and blocks differ
    torch.testing.assert_close(model.forward_features(pictures), tokens, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(pictures), atc.unwrap(model).forward_head(tokens), rtol=0, atol=1e-12)
    for number, stage in enumerate(model.trace):
        for image in range(4):
            kept = chosen[image * 3 + number]
            assert (stage.source[image] >= 0).nonzero().flatten().tolist() == [n - 1 for n in kept]
            assert stage.real(image) == len(kept)
    means = [sum(len(chosen[image * 3 + number]) for image in range(4)) / 4 for number in range(3)]
    assert model.tokens_per_block() == [16, *means]
    for picture in pictures:
        torch.testing.assert_close(model(picture[None]), model(pictures)[pictures.eq(picture).flatten(1).all(1)])


def test_training_without_noise_is_evaluation():
    model, pictures = svit(), images(3).double()
    with torch.no_grad():
        expected = model(pictures)
    for made in model.train().reducers.values():
        made.noise = torch.ones(3, 16, 2)
    logits = model(pictures)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def never(model, *blocks):
    for block in blocks:
        mlp = model.reducers[block].mlp
        torch.nn.init.zeros_(mlp.fc2.weight)
        mlp.fc2.bias.data.copy_(torch.tensor([-90.0, 90.0]))
    return model


@pytest.mark.parametrize("prefix", [1, 0])
@pytest.mark.parametrize("training", [False, True])
def test_a_block_that_computes_no_patch(prefix, training):
    host = vit() if prefix else vit(class_token=False, global_pool="avg")
    model = never(atc.wrap(host, "svit", 0.7, blocks=(2, 3)), "2", "3", "4").train(training)
    pictures = images(2)
    with atc.check_plans():
        model(pictures).sum().backward()
        tokens = model.forward_features(pictures)
    assert model.trace.mean_tokens() == [0, 0, 0]
    assert all(parameter.grad.isfinite().all() for parameter in host.parameters() if parameter.grad is not None)
    first = host.blocks[0](host._pos_embed(host.patch_embed(pictures)))
    torch.testing.assert_close(tokens[:, prefix:], host.norm(first)[:, prefix:])


def test_one_image_of_a_batch_without_patches_gives_no_nan():
    model = lively(atc.wrap(vit(class_token=False, global_pool="avg"), "svit", 0.7, blocks=(2,)))
    pictures, made = images(3), model.reducers["2"]
    stream = model.start(pictures)
    stream.step(1)
    with torch.no_grad():  # between the best of the image that has the worst, and the best of the next
        hidden = F.gelu(made.mlp.fc1(made.norm(stream.x)))
        best = (hidden @ (made.mlp.fc2.weight[0] - made.mlp.fc2.weight[1])).amax(dim=1)
        low, high, _ = best.sort().values.tolist()
        made.mlp.fc2.bias.copy_(torch.tensor([-(low + high) / 2, 0.0]))
    model(pictures).sum().backward()
    counts = sorted(model.trace[0].count.tolist())
    assert counts[0] == 0
    assert counts[1] > 0
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_evaluation_is_noisy_only_where_that_is_asked_for():
    pictures = images(2).double()
    with torch.no_grad():
        for noisy, model in (
            (False, svit()),
            (True, svit(as_released=True)),
            (True, svit(reducer_args={"eval_noise": True})),
            (False, svit(as_released=True, reducer_args={"eval_noise": False})),
        ):
            assert torch.equal(model(pictures), model(pictures)) != noisy


@torch.no_grad()
def test_norms_of_all_blocks_have_the_epsilon_of_the_method():
    pictures, eps = images(2).double(), 1e-2
    other = svit()
    for block in atc.unwrap(other).blocks:
        block.norm1.eps = block.norm2.eps = eps
    model = svit(reducer_args={"norm_eps": eps})
    assert torch.equal(model(pictures), other(pictures))
    assert not torch.equal(model(pictures), svit()(pictures))
    assert atc.unwrap(model).blocks[0].norm1.eps == 1e-6  # the model itself stays as it was
    assert svit(as_released=True).reducers["2"].norm_eps == 1e-5
    with pytest.raises(ValueError, match=r"norm_eps=0.1 needs blocks with layer norms, and these have RmsNorm"):
        atc.wrap(vit(norm_layer="rmsnorm"), "svit", 0.7, blocks=(2,), reducer_args={"norm_eps": 0.1})(images())
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(pictures), model(pictures))


@torch.no_grad()
def test_operations_are_those_of_the_chosen_patches():
    model, pictures = svit().float(), images(4)
    counted, formula = gflops_per_image(model, pictures), gflops_by_formula(model)
    assert model.trace.padded()
    alone = [gflops_per_image(model, picture[None]) for picture in pictures]
    assert counted == pytest.approx(sum(alone) / 4, rel=1e-9)
    gates = 3 * 2 * 16 * (24 * 6 + 6 * 2) / 1e9
    assert counted == pytest.approx(formula + gates, rel=1e-9)
    assert counted < gflops_per_image(atc.unwrap(model), pictures)


def test_it_compiles_whole_and_exports():
    model, pictures = svit(reducer_args={"norm_eps": 1e-5}).float(), images(2)
    torch.compiler.reset()
    with torch.no_grad():
        expected = model(pictures)
        compiled = torch.compile(model, fullgraph=True, backend="eager")(pictures)
        exported = torch.export.export(model, (pictures,)).module()(pictures)
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(exported, expected)


def test_bfloat16_learns():
    model = svit().to(torch.bfloat16).train()
    losses = atc.training_losses(model, images(2).bfloat16(), torch.tensor([0, 3]))
    assert set(losses) == {"base", "ratio", "total"}
    torch.testing.assert_close(losses["total"], losses["base"] + 4 * losses["ratio"])
    losses["total"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    with torch.no_grad():
        assert model.eval()(images(2).bfloat16()).isfinite().all()


def test_a_training_takes_the_shares_to_the_rates():
    model = atc.wrap(vit(), "svit", 0.5, blocks=(2, 4)).train()
    optimizer = torch.optim.AdamW(model.reducers.parameters(), lr=0.02)
    labels, found = torch.arange(16) % 5, []
    torch.manual_seed(0)
    for _ in range(60):
        losses = atc.training_losses(model, torch.randn(16, 3, 64, 64), labels)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        found.append([float(plan.valid.mean()) for (plan,) in model._plans.values()])
    shares = torch.tensor(found[-20:]).mean(dim=0)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.5, 0.25]), rtol=0, atol=0.05)
    assert abs(found[0][2] - 0.25) > 0.1
