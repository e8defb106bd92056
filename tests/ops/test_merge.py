"""Merging and selecting whole sequences, against the parts they are put together from."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from atc.core import Assign, Select
from atc.ops.linkage import cpu, ranges
from atc.ops.merge import compiled, merge, select
from atc.ops.merge.plain import merge_plainly
from atc.ops.segment import group_sum

GROUPS = 4
X, LABELS = torch.zeros(2, 4, 3), torch.zeros(2, 3, dtype=torch.int64)


def example(dtype=torch.float64, prefix=2, empty_groups=False, seed=0):
    """Tokens of three images, labels with dropped tokens, weights and sizes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, prefix + 9, 5, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(-1, GROUPS, (3, 9), generator=generator)
    labels[:, :GROUPS] = torch.arange(GROUPS)
    wide = torch.promote_types(dtype, torch.float32)
    weight = torch.rand(3, 9, generator=generator, dtype=torch.float64).to(wide) + 0.5
    size = torch.randint(1, 4, (3, 9), generator=generator).to(wide)
    if empty_groups:  # one has no tokens, one has tokens without weight
        labels[labels == 3] = 0
        labels[:, 3:][labels[:, 3:] == 2] = 1
        weight[:, 2] = 0
    return x, labels, weight, size


def by_parts(x, labels, weight, size, prefix, average, eps, empty_groups):
    """What `merge` makes, from group sums, as autograd differentiates them."""
    exact = x[:, prefix:].to(torch.promote_types(x.dtype, torch.float32))
    merged = group_sum(exact, labels, GROUPS, weight)
    if average:
        total = group_sum(torch.ones_like(size) if weight is None else weight, labels, GROUPS) + eps
        merged = merged / (torch.where(total == 0, 1, total) if empty_groups else total).unsqueeze(-1)
    return torch.cat([x[:, :prefix], merged.to(x.dtype)], dim=1), group_sum(size, labels, GROUPS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_values_and_gradients_are_those_of_the_parts_to_the_bit(dtype):
    cases = itertools.product((0, 2), (True, False), (0.0, 1e-6), (False, True), ("both", "size", "none"))
    for prefix, average, eps, empty_groups, weighted in cases:
        x, labels, weight, size = example(dtype, prefix, empty_groups)
        leaves = [value.requires_grad_() for value in (x, size, weight)]
        weight = {"both": weight, "size": size, "none": None}[weighted]
        leaves = leaves[: 3 if weighted == "both" else 2]
        expected = by_parts(x, labels, weight, size, prefix, average, eps, empty_groups)
        options = {"prefix": prefix, "average": average, "eps": eps, "empty_groups": empty_groups}
        found = merge(x, labels, GROUPS, weight=weight, size=size, **options)
        grads = [torch.randn_like(one) for one in expected]
        gradients = torch.autograd.grad(found, leaves, grads), torch.autograd.grad(expected, leaves, grads)
        for one, other in (*zip(found, expected, strict=True), *zip(*gradients, strict=True)):
            if weighted == "size" and one.shape == size.shape:  # three gradients, added in another order
                torch.testing.assert_close(one, other, equal_nan=True)
            else:
                torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, msg=f"{options} {weighted}")


@pytest.mark.skipif(cpu.of_library("atc_merge") is None, reason="no compiled library")
@pytest.mark.parametrize(("avx2", "threads"), [(True, 1), (True, 3), (False, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_library_gives_the_bits_of_pytorch(dtype, avx2, threads, monkeypatch):
    call = cpu.of_library("atc_merge")
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(ranges, "_CELLS_A_THREAD", 1)
    monkeypatch.setattr(cpu, "of_library", lambda name: lambda job, _: call(job, avx2))
    generator = torch.Generator().manual_seed(0)
    for tokens, groups, channels in ((1, 1, 1), (9, 4, 5), (196, 49, 99), (50, 3, 16)):
        wide = torch.randn(3, tokens + 2, 2 * channels, generator=generator, dtype=dtype)
        labels = torch.randint(-1, groups, (3, tokens), generator=generator)
        factor, size = torch.rand(2, 3, tokens, generator=generator, dtype=dtype).unbind()
        size[:, ::3] = 0
        wide[0, -1, 0] = torch.nan
        wide[1, 2, 0] = -torch.inf
        for x in (wide[..., :channels].contiguous(), wide[..., :channels], wide[..., ::2]):
            for options in itertools.product((None, factor, size), (None, size), (0, 2), (True, False), (0.0, 1e-6)):
                weight, sizes, prefix, average, eps = options
                some = x if prefix else x[:, 2:]
                given = some, labels, groups, weight, sizes, prefix, average, eps, True
                assert compiled.reads(some, weight, sizes)
                found, right = compiled.merge(*given), merge_plainly(*given)
                torch.testing.assert_close(found[0], right[0], rtol=0, atol=0, equal_nan=True)
                assert found[1].equal(right[1]) if sizes is not None else found[1].numel() == 0


@pytest.mark.skipif(cpu.of_library("atc_merge") is None, reason="no compiled library")
def test_what_the_library_does_not_read():
    x, labels, weight, _ = example(torch.float32)
    assert compiled.reads(x, weight, None)
    assert not compiled.reads(x.half(), None, None)
    assert not compiled.reads(x, weight.double(), None)
    assert not compiled.reads(x.to("meta"), None, None)
    assert compiled.merge(x, labels + 1, GROUPS, None, None, 2, True, 0.0, False) is None
    with pytest.raises(ValueError, match=r"labels must lie in \[-1, 4\), got 4 for token"):
        merge(x, labels + 1, GROUPS, prefix=2)


@pytest.mark.parametrize("average", [True, False])
def test_gradients_and_their_gradients(average):
    x, labels, weight, size = (value.requires_grad_(value.is_floating_point()) for value in example())

    def whole(x, weight, size):
        return merge(x, labels, GROUPS, weight=weight, size=size, prefix=2, average=average, eps=1e-6)

    assert torch.autograd.gradcheck(whole, (x, weight, size))
    assert torch.autograd.gradgradcheck(whole, (x, weight, size))
    assert torch.autograd.gradgradcheck(lambda x: merge(x, labels, GROUPS, prefix=2, average=average)[0], (x,))
    indices = labels[:, :GROUPS]
    assert torch.autograd.gradcheck(lambda x, size: select(x, indices, size=size, prefix=2), (x, size))
    assert torch.autograd.gradgradcheck(lambda x, size: select(x, indices, size=size, prefix=2), (x, size))


def test_what_depends_on_nothing_learned_does_not_seem_to():
    x, labels, weight, size = example()
    tokens, sizes = merge(x.requires_grad_(), labels, GROUPS, weight=weight, size=size, prefix=2)
    assert tokens.requires_grad
    assert not sizes.requires_grad
    tokens, sizes = merge(x.detach(), labels, GROUPS, size=size.requires_grad_(), prefix=2)
    assert not tokens.requires_grad
    assert sizes.requires_grad
    tokens, sizes = select(x, labels.clamp_min(0), size=weight, prefix=2)
    assert tokens.requires_grad
    assert not sizes.requires_grad


def test_operators_keep_their_promises():
    for learned in (False, True):
        x, labels, weight, size = example(torch.float32)
        x.requires_grad_(learned)
        weight.requires_grad_(learned)
        arguments = (x, labels, GROUPS, weight, size, 2, True, 1e-6, True)
        torch.library.opcheck(torch.ops.atc.merge, arguments)
        torch.library.opcheck(torch.ops.atc.merge, (x[:, 2:], labels, GROUPS, None, None, 0, False, 0.0, False))
        torch.library.opcheck(torch.ops.atc.select, (x, labels[:, :GROUPS], size, 2))
        torch.library.opcheck(torch.ops.atc.select, (x, labels[:, :GROUPS], None, 2))


def test_a_compiled_graph_holds_the_operators_and_an_exported_one_does_not():
    x, labels, weight, size = example(torch.float32)

    class Steps(torch.nn.Module):
        def forward(self, x):
            merged, sizes = merge(x, labels, GROUPS, weight=weight, size=size, prefix=2)
            return select(merged, labels[:, :2], size=sizes, prefix=2)

    expected = Steps()(x)
    graphs = []

    def noted(graph, example_inputs):
        graphs.append(graph.code)
        return graph

    for one, other in zip(torch.compile(Steps(), fullgraph=True, backend=noted)(x), expected, strict=True):
        assert torch.equal(one, other)
    assert len(graphs) == 1
    assert "merge" in graphs[0]
    program = torch.export.export(Steps(), (x,))
    assert "atc" not in str(program.graph)
    for one, other in zip(program.module()(x), expected, strict=True):
        assert torch.equal(one, other)


def test_a_plan_dispatches_one_operator():
    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(str(function))
            return function(*args, **(kwargs or {}))

    x, labels, _, size = example(torch.float32)
    for plan, name in ((Assign(labels, GROUPS), "merge"), (Select(labels[:, :GROUPS].clone(), 9), "select")):
        names: list[str] = []
        with torch.no_grad(), Seen():
            plan.apply(x, size, size, 2)
        assert names == [f"atc.{name}.default"]


def test_transforms_of_functions():
    x, labels, weight, size = example(prefix=1)

    def whole(x):
        return merge(x, labels, GROUPS, weight=weight, size=size, prefix=1)[0]

    def loss(x):
        return select(whole(x), labels[:, :GROUPS], prefix=1)[0].square().sum()

    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(torch.func.grad(loss)(x), torch.autograd.grad(loss(leaf), leaf)[0])
    _, tangent = torch.func.jvp(whole, (x,), (x,))
    torch.testing.assert_close(tangent, whole(x))  # a mean is linear in tokens
    both = torch.stack([x, 2 * x])
    assert torch.equal(torch.vmap(whole)(both), torch.stack([whole(x), whole(2 * x)]))
    called = torch.vmap(lambda x: torch.ops.atc.merge(x, labels, GROUPS, weight, size, 1, True, 0.0, False)[0])
    assert torch.equal(called(both), torch.vmap(whole)(both))
    called = torch.vmap(lambda x: torch.ops.atc.select(x, labels[:, :GROUPS], None, 1)[0])
    assert torch.equal(called(both)[1], select(2 * x, labels[:, :GROUPS], prefix=1)[0])
    assert torch.func.hessian(loss)(x).shape == (*x.shape, *x.shape)


def test_images_do_not_mix_and_layouts_do_not_matter():
    x, labels, weight, size = example(torch.float32)
    tokens, sizes = merge(x, labels, GROUPS, weight=weight, size=size, prefix=2)
    other = merge(x.mT.contiguous().mT, labels.T.contiguous().T, GROUPS, weight=weight, size=size, prefix=2)
    assert torch.equal(tokens, other[0])
    for image in range(3):
        here = slice(image, image + 1)
        alone = merge(x[here], labels[here], GROUPS, weight=weight[here], size=size[here], prefix=2)
        assert torch.equal(alone[0], tokens[here])
        assert torch.equal(alone[1], sizes[here])


@pytest.mark.parametrize("batch", [0, 2])
def test_empty_things(batch):
    x = torch.randn(batch, 3, 0)
    assert merge(x, torch.zeros(batch, 2, dtype=torch.int64), 5, prefix=1)[0].shape == (batch, 6, 0)
    x = torch.randn(batch, 3, 4, requires_grad=True)
    assert merge(x, torch.zeros(batch, 0, dtype=torch.int64), 0, prefix=3)[0].shape == (batch, 3, 4)
    found = merge(x, torch.full((batch, 3), -1), 0, average=False)[0]
    assert found.shape == (batch, 0, 4)
    found.sum().backward()
    assert x.grad.shape == x.shape
    for prefix in (0, 1):
        kept, _ = select(x, torch.zeros(batch, 0, dtype=torch.int64), prefix=prefix)
        assert kept.shape == (batch, prefix, 4)
        kept.sum().backward()


def test_an_index_reaches_no_other_image():
    for wrong in (-1, 3):
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            select(X, LABELS[:, :1] + wrong, prefix=1)


def test_a_plan_with_arithmetic_of_its_own_is_asked():
    class Doubled(Assign):
        def reduce(self, x, size):
            return 2 * super().reduce(x, size)

    class Ones(Select):
        def reduce_size(self, size):
            return torch.ones_like(super().reduce_size(size))

    x, labels, weight, size = example()
    plain = Assign(labels, GROUPS).apply(x, weight, size, 2)
    found = Doubled(labels, GROUPS).apply(x, weight, size, 2)
    assert torch.equal(found[0][:, :2], x[:, :2])
    assert torch.equal(found[0][:, 2:], 2 * plain[0][:, 2:])
    assert torch.equal(found[1], plain[1])
    assert Ones(labels[:, :GROUPS], 9).apply(x, weight, size, 2)[1].unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op: op.merge(X[0], LABELS, 2, None, None, 1, True, 0.0, False), r"x must be .* \[4, 3\]"),
        (lambda op: op.merge(X.long(), LABELS, 2, None, None, 1, True, 0.0, False), "x must be a dense floating"),
        (lambda op: op.merge(X, LABELS, 2, None, None, 5, True, 0.0, False), r"prefix must lie in \[0, 4\], got 5"),
        (lambda op: op.merge(X, LABELS, 2, None, None, 0, True, 0.0, False), r"labels must be int64 \[2, 4\]"),
        (lambda op: op.merge(X, LABELS.int(), 2, None, None, 1, True, 0.0, False), "labels must be int64"),
        (lambda op: op.merge(X, LABELS, -1, None, None, 1, True, 0.0, False), "num_groups must be at least 0, got -1"),
        (lambda op: op.merge(X, LABELS, 2, X[:, :, 0], None, 1, True, 0.0, False), r"weight must be floating \[2, 3\]"),
        (lambda op: op.merge(X, LABELS, 2, None, LABELS, 1, True, 0.0, False), "size must be floating"),
        (
            lambda op: op.merge(X, LABELS + 2, 2, None, None, 1, True, 0.0, False),
            r"lie in \[-1, 2\), got 2 for token 0",
        ),
        (lambda op: op.select(X, LABELS[0], None, 1), "indices must be int64"),
        (lambda op: op.select(X, LABELS, X[:, :, 0], 1), r"size must be floating \[2, 3\]"),
        (lambda op: op.select(X, LABELS[:1], None, 1), r"indices must be int64 \[2, 3\]"),
    ],
)
def test_operators_refuse_what_a_kernel_would_read_wrongly(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ops.atc)
