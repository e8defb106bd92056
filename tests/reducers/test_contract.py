"""What every method of conf/reducer/*.yaml promises; a new file there is tested by being there.

A reducer that cannot keep one promise names the check and the reason in `Reducer.exceptions`; the check then
asserts what the exception says instead of being skipped.
"""

import copy
import pickle

import pytest
import torch

from atc import build
from atc.core import Reducer, Stage, TokenView
from atc.vit.reduced import reducer_class

B, H, N, D, C, PREFIX, KEEP = 4, 3, 24, 8, 16, 1, 13
NAMES = [name for name in build.names("reducer") if reducer_class(build.find_reducer(name)).reduces]


def view(batch: int = B, dtype: torch.dtype = torch.float32, x: torch.Tensor | None = None) -> TokenView:
    """Random tokens with everything a reducer may ask for."""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(batch, N, C, generator=g) if x is None else x
    attn = torch.randn(batch, H, PREFIX + N, PREFIX + N, generator=g).softmax(-1)
    source = torch.arange(N).expand(batch, -1)
    return TokenView(
        x.to(dtype), torch.randn(batch, N, D, generator=g).to(dtype), torch.ones(batch, N), source, (4, 6),
        attn[:, :, 0, PREFIX:].to(dtype), torch.randn(batch, H, N, D, generator=g).to(dtype), attn.to(dtype),
    )  # fmt: skip


def rows(v: TokenView, index: torch.Tensor | slice) -> TokenView:
    """Some images of a view."""
    return TokenView(*(field[index] if isinstance(field, torch.Tensor) else field for field in v))


def make(name: str, keep: int = KEEP) -> Reducer:
    reducer = build.find_reducer(name)(Stage(block=4, dim=C, keep=keep))
    for parameter in reducer.parameters():  # off zero, so that gradients and weights matter
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(2))
    return reducer.eval()


def plan_of(name: str, v: TokenView, keep: int = KEEP):
    return make(name, keep)(v, keep)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.mark.parametrize("keep", [N - 1, 18, KEEP])
def test_exactly_keep_tokens_come_out(name, keep):
    plan = plan_of(name, view(), keep)
    cls = type(make(name))
    out = keep + cls.extra
    assert ("exactly_keep" in cls.exceptions) == (cls.extra > 0)
    assert plan.num_out == out
    assert plan.reduce(view().x, view().size).shape == (B, out, C)
    assert plan.reduce_size(view().size).shape == (B, out)


def test_labels_cover_every_output_and_sizes_add_up(name):
    plan = plan_of(name, view())
    assert plan.labels.shape == (B, N)
    assert plan.labels.dtype == torch.int64
    for labels in plan.labels:
        assert set(labels.tolist()) - {-1} == set(range(plan.num_out))
    total = plan.reduce_size(view().size).sum(1)
    if (plan.labels < 0).any():
        assert torch.equal(total, (plan.labels >= 0).sum(1).float())
    else:
        torch.testing.assert_close(total, torch.full((B,), float(N)))


def test_no_image_depends_on_its_batch(name):
    whole, v = plan_of(name, view(8)), view(8)
    order = torch.randperm(8)
    permuted = plan_of(name, rows(v, order))
    assert torch.equal(permuted.labels, whole.labels[order])
    for b in range(8):
        alone = plan_of(name, rows(v, slice(b, b + 1)))
        assert torch.equal(alone.labels[0], whole.labels[b])
        assert torch.equal(alone.reduce(v.x[b : b + 1], v.size[b : b + 1])[0], whole.reduce(v.x, v.size)[b])


def test_nothing_is_random_in_evaluation(name):
    torch.manual_seed(1)
    first = plan_of(name, view())
    torch.manual_seed(2)
    reducer = make(name)
    assert torch.equal(first.labels, reducer(view(), KEEP).labels)


def test_expand_is_constant_on_groups(name):
    v = view()
    plan = plan_of(name, v)
    y = plan.reduce(v.x, v.size)
    out = plan.expand(y)
    for b in range(B):
        for n in range(N):
            label = int(plan.labels[b, n])
            expected = y[b, label] if label >= 0 else torch.zeros(C)
            torch.testing.assert_close(out[b, n], expected)


def test_gradients_reach_tokens_and_every_parameter(name):
    v = view()
    x = v.x.clone().requires_grad_()
    reducer = make(name).train()
    torch.manual_seed(0)
    plan = reducer(v._replace(x=x), KEEP)
    (plan.reduce(x, v.size) * torch.randn(1, 1, C)).sum().backward()
    assert x.grad is not None
    kept = plan.labels >= 0 if not hasattr(plan, "indices") else torch.zeros(B, N).scatter(1, plan.indices, 1) > 0
    assert (x.grad[kept].abs().sum(-1) > 0).all()
    for parameter_name, parameter in reducer.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("kind", ["equal", "zero", "duplicates"])
def test_ties_and_zeros_give_no_nan(name, kind):
    v = view()
    if kind == "equal":
        v = v._replace(x=torch.ones_like(v.x), keys=torch.ones_like(v.keys))
    elif kind == "zero":
        v = v._replace(x=torch.zeros_like(v.x), keys=torch.zeros_like(v.keys))
    else:
        half = torch.arange(N) // 2
        v = v._replace(x=v.x[:, half], keys=v.keys[:, half])
    v = v._replace(cls_attn=torch.full_like(v.cls_attn, 1 / N), attn=torch.full_like(v.attn, 1 / (N + PREFIX)))
    plan = plan_of(name, v)
    y = plan.reduce(v.x, v.size)
    assert y.shape[1] == plan.num_out
    assert torch.isfinite(y).all()
    assert torch.isfinite(plan.reduce_size(v.size).log()).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_and_autocast(name, dtype):
    v = view(dtype=dtype)
    reducer = make(name).to(dtype)
    y = reducer(v, KEEP).reduce(v.x, v.size)
    assert y.dtype == dtype
    assert torch.isfinite(y).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = make(name)(view(), KEEP)
        assert torch.isfinite(plan.reduce(view().x, view().size)).all()


def test_compiles_whole_and_exports(name):
    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.reducer = make(name)

        def forward(self, x, keys, size, source, cls_attn, values, attn):
            plan = self.reducer(TokenView(x, keys, size, source, (4, 6), cls_attn, values, attn), KEEP)
            return plan.reduce(x, size), plan.reduce_size(size), plan.labels

    torch.compiler.reset()
    v = view()
    inputs = (v.x, v.keys, v.size, v.source, v.cls_attn, v.values, v.attn)
    step = Step()
    with torch.no_grad():
        expected = step(*inputs)
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        exported = torch.export.export(step, inputs).module()
        for run in (compiled, exported):
            for got, want in zip(run(*inputs), expected, strict=True):
                torch.testing.assert_close(got, want)


def test_pickles_and_copies(name):
    reducer = make(name)
    again = pickle.loads(pickle.dumps(reducer))
    expected = reducer(view(), KEEP).labels
    assert torch.equal(again(view(), KEEP).labels, expected)
    assert torch.equal(copy.deepcopy(reducer)(view(), KEEP).labels, expected)


def test_least_is_reachable(name):
    least = type(make(name)).least(N)
    assert 1 <= least < N
    plan = plan_of(name, view(), least)
    assert plan.num_out == least + type(make(name)).extra


def test_tools_that_walk_over_outputs_find_tensors(name):
    """torchinfo.summary takes the size of what each module returns: of a tensor, or of the first in a tuple."""
    walked = []
    reducer = make(name)
    reducer.register_forward_hook(lambda module, inputs, output: walked.append(size_of(output)))
    plan = reducer(view(), KEEP)
    assert walked == [list(plan[0].shape)]
    assert len(walked[0]) >= 2


def size_of(output) -> list[int]:
    if isinstance(output, torch.Tensor):
        return list(output.shape)
    if isinstance(output, (list, tuple)) and output:
        return size_of(output[0])
    raise TypeError(f"Model contains a layer with an unsupported input or output type: {type(output)}")
