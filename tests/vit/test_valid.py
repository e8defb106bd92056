"""Methods that leave a different number of tokens in each image, in a whole model: `valid`."""

import copy

import pytest
import timm
import torch

import atc
from atc.core import Reducer, Select, Trace
from atc.vit.attention import masked_softmax
from atc.vit.valid import key_bias
from tests.reducers.kinds import Masked, Padded, Soft, exponential
from tests.vit.wrapped import images, vit

POOLS = ("token", "avg", "avgmax", "max")


def model(reducer, pool="token", **settings):
    settings = {"keep_rate": 0.5, "blocks": (2, 3), **settings}
    return atc.wrap(vit(global_pool=pool, class_token=pool == "token").double(), reducer, **settings)


def pictures(batch=4):
    return images(batch).double() * torch.arange(1, batch + 1)[:, None, None, None]


class Wrong(Padded):
    """Fills its padding, and what comes of it later, with large numbers."""

    content = 1e3

    def forward(self, view, keep):
        plan = super().forward(view, keep)
        return _Filled(plan.indices, view.x.shape[1], valid=plan.valid)


class _Filled(Select):
    def reduce(self, x, size):
        return super().reduce(x, size).masked_fill(self.padding()[..., None], Wrong.content)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("override", [False, True])
@torch.no_grad()
def test_an_image_depends_neither_on_its_batch_nor_on_padding(pool, override, monkeypatch):
    switches = {"proportional_attention": override, "size_weighted": override}
    reduced = model(Wrong, pool, **switches)
    whole = reduced(pictures())
    stages = reduced.trace
    assert len(stages) == 2
    assert len(set(stages[0].count.tolist())) > 1  # there is padding
    for content in (0.0, -1e6):
        monkeypatch.setattr(Wrong, "content", content)
        assert torch.equal(reduced(pictures()), whole)
    for b in range(4):
        torch.testing.assert_close(reduced(pictures()[b : b + 1])[0], whole[b], rtol=0, atol=1e-12)
        # as many slots as this image fills: no padding at all
        counts = [stage.count[b].item() for stage in stages]
        tight = atc.wrap(copy.deepcopy(atc.unwrap(reduced)), Padded, schedule=atc.core.Stages(None, (2, 3), counts),
                         **switches)  # fmt: skip
        torch.testing.assert_close(tight(pictures()[b : b + 1])[0], whole[b], rtol=0, atol=1e-12)
        assert tight.trace[-1].count.tolist() == [counts[-1]]


@torch.no_grad()
def test_the_trace_says_what_is_real():
    reduced = model(Padded)
    reduced(pictures())
    for stage in reduced.trace:
        assert stage.valid.shape == (4, stage.tokens_out)
        assert torch.equal(stage.count, stage.valid.sum(1))
        assert ((stage.size > 0) == stage.valid).all()
        assert (stage.source.amax(1) < stage.count).all()  # no patch points at padding
        assert [stage.real(b) for b in range(4)] == stage.count.tolist()
    assert reduced.trace.tokens() == [8, 4]
    means = reduced.trace.mean_tokens()
    assert means == [stage.count.double().mean().item() for stage in reduced.trace]
    assert reduced.tokens_per_block() == [16, 16, *means]


@torch.no_grad()
def test_a_dynamic_method_is_asked_where_all_tokens_may_stay():
    reduced = model(Padded, keep_rate=1.0)
    reduced(pictures())
    assert reduced.trace.tokens() == [16, 16]
    assert max(reduced.trace.mean_tokens()) < 16


@torch.no_grad()
def test_static_methods_have_no_mask():
    for name in ("tome", "topk", "atc_average"):
        reduced = atc.wrap(vit(), name, 0.5, blocks=(2, 3))
        stream = reduced.start(images())
        for block in range(1, 5):
            stream.step(block)
        assert stream.valid is None
        assert all(stage.valid is None and stage.count is None and stage.shares is None for stage in stream.stages)
        assert (stream.bias is None) != reduced.proportional_attention


@pytest.mark.slow
def test_padding_survives_autocast_compilation_and_gradients():
    reduced = model(Padded).float().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = reduced(pictures().float())
    logits.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in atc.unwrap(reduced).parameters() if p.grad is not None)
    reduced = reduced.eval()
    torch.compiler.reset()
    with torch.no_grad():
        want = reduced(pictures().float())
        got = torch.compile(reduced, fullgraph=True, backend="aot_eager")(pictures().float())
    torch.testing.assert_close(got, want)


def test_a_mask_of_training_hides_tokens_and_has_gradients():
    reduced = model(Masked).train()
    for reducer in reduced.reducers.values():
        reducer.noise = exponential((4, 16, 2)).double()
    logits = reduced(pictures())
    last = reduced.trace[-1]
    assert reduced.trace.tokens() == [16, 16]
    assert last.valid.is_floating_point()
    assert torch.equal(last.count, (last.valid > 0.5).sum(1))
    assert 0 < last.count.sum() < 64
    (logits.square().sum() + reduced.losses()["ratio"]).backward()
    for reducer in reduced.reducers.values():
        assert reducer.score.weight.grad.isfinite().all()
        assert reducer.score.weight.grad.abs().sum() > 0
    again = reduced(pictures())
    assert torch.equal(again, logits)  # the noise that was given, and no other
    reducer.noise = exponential((1, 16, 2))
    with pytest.raises(ValueError, match=r"noise must be \[4, 16, 2\], got \[1, 16, 2\]"):
        reduced(pictures())
    with torch.no_grad():
        reduced.eval()(pictures())
    assert reduced.trace.tokens() == [8, 4]
    assert reduced.trace[-1].valid is None


def test_masked_softmax_is_that_of_the_authors():
    """Worked out by hand from DynamicViT's formula."""
    logits = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).log().expand(1, 1, 3, 3)
    weights = masked_softmax(logits, torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64))[0, 0]
    outer = torch.tensor([0.2500000625, 0.00000024999981, 0.7499996875], dtype=torch.float64)
    inner = torch.tensor([0.16666675, 0.33333333, 0.49999992], dtype=torch.float64)
    torch.testing.assert_close(weights, torch.stack([outer, inner, outer]), rtol=0, atol=1e-8)


class Halved(Reducer):
    """A floating mask in evaluation: half of every other token."""

    def forward(self, view, keep):
        indices = torch.arange(keep).expand(len(view.x), -1)
        return Select(indices, view.x.shape[1], valid=(1 - 0.5 * (indices % 2)).to(view.x.dtype))


def test_a_mask_in_between_is_a_bias_of_its_logarithm():
    valid = torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64, requires_grad=True)
    bias = key_bias(torch.tensor([[2.0, 2.0, 2.0]], dtype=torch.float64), valid, 1)
    assert bias.tolist() == [pytest.approx([0.0, torch.tensor(2.0).log().item(), 0.0, -torch.inf])]
    (bias.softmax(1) * torch.arange(4)).sum().backward()
    assert valid.grad.isfinite().all()
    reduced = model(Halved, "avg")
    with torch.no_grad():
        assert reduced(pictures()).isfinite().all()


PLANS = {
    "padding in between": (lambda v: torch.cat([v[:, :1], v[:, 1:].flip(1)], dim=1), "has padding in between"),
    "nothing real": (lambda v: torch.zeros_like(v), "no token of image 0 is real"),
    "counts": (lambda v: v.long(), "valid must be bool or floating"),
    "another shape": (lambda v: v[:, 1:], "valid must be bool or floating"),
    "beyond one": (lambda v: 2.0 * v, r"valid must lie in \[0, 1\]"),
}


@pytest.mark.parametrize(("broken", "said"), PLANS.values(), ids=PLANS)
def test_wrong_masks_are_refused(broken, said):
    class Broken(Padded):
        def forward(self, view, keep):
            plan = super().forward(view, keep)
            return Select(plan.indices, view.x.shape[1], valid=broken(plan.valid))

    with torch.no_grad(), pytest.raises(ValueError, match=f"Broken at block 2: .*{said}") as error:
        model(Broken)(pictures())
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_soft_methods_leave_shares():
    reduced = model(Soft)
    reduced(pictures())
    trace = reduced.trace
    assert trace.soft()
    held = trace.source_shares()
    assert held.shape == (4, 16, 4)
    torch.testing.assert_close(held.sum(2), torch.ones(4, 16).double())
    torch.testing.assert_close(held, trace.source_shares(0) @ trace[1].shares.transpose(1, 2))
    hard = atc.wrap(vit(), "tome", 0.5, blocks=(2, 3))
    hard(images())
    held = hard.trace.source_shares()
    assert torch.equal(held.argmax(2), hard.trace[-1].source)
    assert not hard.trace.soft()
    assert Trace().mean_tokens() == []


@torch.no_grad()
def test_features_on_the_grid_are_shared_out_by_soft_methods():
    reduced = model(Soft)
    (features,) = reduced.forward_intermediates(pictures(), [3], output_fmt="NLC", intermediates_only=True)
    (tokens,) = reduced.forward_intermediates(pictures(), [3], output_fmt="NLC", intermediates_only=True, expand=False)
    torch.testing.assert_close(features, reduced.trace.source_shares() @ tokens)


def test_attention_pooling_ignores_padding(monkeypatch):
    host = timm.create_model("vit_base_patch16_siglip_224", img_size=64, depth=4, embed_dim=24, num_heads=2)
    reduced = atc.wrap(host.double().eval(), Wrong, 0.5, blocks=(2, 3))
    with torch.no_grad():
        whole = reduced(pictures())
        assert len(set(reduced.trace[0].count.tolist())) > 1
        monkeypatch.setattr(Wrong, "content", -7.0)
        assert torch.equal(reduced(pictures()), whole)
        torch.testing.assert_close(reduced(pictures()[:1])[0], whole[0], rtol=0, atol=1e-12)
