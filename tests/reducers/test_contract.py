"""What every method of conf/reducer/*.yaml promises; a new file there is tested by being there.

A reducer that cannot keep one promise names the check and the reason in `Reducer.exceptions`; the check then has to
fail, so that an exception that is not needed is found. Of a soft method (`Mix`) the shares are checked where others
have labels. Tiny methods of every kind, of `tests/reducers/kinds.py`, keep the same promises.
"""

import copy
import functools
import pickle

import pytest
import torch

from atc.config import build
from atc.core import LossContext, Mix, Plan, Reducer, Stage, TokenView
from atc.vit.reduced import reducer_class
from atc.vit.reducer_losses import takes_context
from tests.reducers.kinds import KINDS

B, H, N, D, C, PREFIX, KEEP = 4, 3, 24, 8, 16, 1, 13
NAMES = [name for name in build.names("reducer") if reducer_class(build.find_reducer(name)).reduces]
CHECKS: set[str] = {"distinct_outputs"}  # asked for where plans are checked, by `check_plans`


def check(test):
    """A promise by the name of its test, which `Reducer.exceptions` may name."""
    named = test.__name__.removeprefix("test_")
    CHECKS.add(named)

    @functools.wraps(test)
    def checked(name, **kwargs):
        if named not in make(name).exceptions:
            return test(name, **kwargs)
        try:
            test(name, **kwargs)
        except Exception:
            return None
        raise AssertionError(f"{name} keeps the promise {named!r}, of which its exceptions say that it does not")

    return checked


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


find_reducer = functools.cache(build.find_reducer)  # Hydra takes milliseconds, and each test asks several times


def make(name: str, keep: int = KEEP) -> Reducer:
    factory = KINDS[name] if name in KINDS else find_reducer(name)
    reducer = factory(Stage(block=4, dim=C, keep=keep, depth=12, number=1, tokens_in=N, threshold=0.8))
    for parameter in reducer.parameters():  # off zero, so that gradients and weights matter
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(2))
    return reducer.eval()


def plan_of(name: str, v: TokenView, keep: int = KEEP):
    return make(name, keep)(v, keep)


def shares_of(plan: Plan) -> torch.Tensor:
    """[B, K, N]: how each input token is shared out over the outputs."""
    if isinstance(plan, Mix):
        return plan.shares()
    return (plan.labels.unsqueeze(1) == torch.arange(plan.num_out)[:, None]).float()


def real_of(plan: Plan) -> torch.Tensor:
    """[B, K] bool: the outputs that are no padding."""
    padding = plan.padding()
    return torch.ones(len(plan.labels), plan.num_out, dtype=torch.bool) if padding is None else ~padding


def same(name, got: Plan, wanted: Plan, v: TokenView) -> None:
    """Equal plans: to the bit, up to rounding where weights are computed in batches."""
    if isinstance(wanted, Mix):
        torch.testing.assert_close(got.shares(), wanted.shares())
    else:
        assert torch.equal(got.labels, wanted.labels)
        assert torch.equal(real_of(got), real_of(wanted))
    rounded = {} if any(True for _ in make(name).parameters()) else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(got.reduce(v.x, v.size), wanted.reduce(v.x, v.size), **rounded)


def image(plan: Plan, b: int) -> Plan:
    """The part of a plan that is one image's."""
    alone = copy.copy(plan)
    for field, value in vars(plan).items():
        if isinstance(value, torch.Tensor):
            setattr(alone, field, value[b : b + 1])
    return alone


@pytest.fixture(params=[*NAMES, *KINDS])
def name(request):
    return request.param


@pytest.mark.parametrize("keep", [N - 1, 18, KEEP])
@check
def test_exactly_keep(name, keep):
    plan = plan_of(name, view(), keep)
    assert plan.num_out == keep
    assert (real_of(plan).sum(1) <= keep).all()
    assert make(name).dynamic or real_of(plan).all()


@pytest.mark.parametrize("keep", [N - 1, 18, KEEP])
@check
def test_shapes(name, keep):
    plan, out = plan_of(name, view(), keep), keep + make(name).extra
    assert ("exactly_keep" in make(name).exceptions) == (make(name).extra > 0)
    assert plan.num_out == out
    assert plan.reduce(view().x, view().size).shape == (B, out, C)
    assert plan.reduce_size(view().size).shape == (B, out)


@check
def test_outputs_are_covered_and_sizes_add_up(name):
    plan = plan_of(name, view())
    assert plan.labels.shape == (B, N)
    assert plan.labels.dtype == torch.int64
    shares, size = shares_of(plan), plan.reduce_size(view().size)
    assert ((shares > 0).any(2) == real_of(plan)).all()
    assert ((size > 0) == real_of(plan)).all()
    whole = shares.sum(1)
    assert ((whole - 1).abs().minimum(whole.abs()) < 1e-6).all()  # all of a token goes somewhere, or nothing of it
    torch.testing.assert_close(size.sum(1), whole.sum(1))


@check
def test_no_image_depends_on_its_batch(name):
    whole, v = plan_of(name, view(8)), view(8)
    order = torch.randperm(8)
    permuted = plan_of(name, rows(v, order))
    for b in range(8):
        one = rows(v, slice(b, b + 1))
        same(name, image(permuted, int((order == b).nonzero())), image(whole, b), one)
        same(name, plan_of(name, one), image(whole, b), one)


@check
def test_nothing_is_random_in_evaluation(name):
    torch.manual_seed(1)
    first = plan_of(name, view())
    torch.manual_seed(2)
    reducer = make(name)
    same(name, reducer(view(), KEEP), first, view())


@check
def test_expand_gives_each_token_its_output(name):
    v = view()
    plan = plan_of(name, v)
    y = plan.reduce(v.x, v.size)
    out = plan.expand(y)
    if isinstance(plan, Mix):
        torch.testing.assert_close(out, torch.einsum("bkn,bkc->bnc", plan.shares(), y))
        return
    for b in range(B):
        for n in range(N):
            label = int(plan.labels[b, n])
            expected = y[b, label] if label >= 0 else torch.zeros(C)
            torch.testing.assert_close(out[b, n], expected)


@check
def test_gradients_reach_tokens_and_every_parameter(name):
    v = view()
    x = v.x.clone().requires_grad_()
    reducer = make(name).train()
    torch.manual_seed(0)
    plan = reducer(v._replace(x=x), KEEP)
    if make(name).masks_training:
        assert plan.num_out == N
        assert plan.valid.is_floating_point()
    total = (plan.reduce(x, v.size) * torch.randn(1, 1, C)).sum()
    if plan.valid is not None and plan.valid.is_floating_point():
        total = total + (plan.valid * torch.randn(1, plan.num_out)).sum()
    context = LossContext(torch.randn(B, 5), torch.randn(B, KEEP, C))
    (total + sum(loss_of(reducer, [plan], context).values())).backward()
    assert x.grad is not None
    kept = (shares_of(plan) > 0).any(1)
    if hasattr(plan, "indices"):  # a cluster that keeps one member
        kept = torch.zeros(B, N).scatter_add(1, plan.indices, real_of(plan).float()) > 0
    assert (x.grad[kept].abs().sum(-1) > 0).all()
    for parameter_name, parameter in reducer.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def loss_of(reducer, plans, context):
    return reducer.losses(plans, context) if takes_context(reducer) else reducer.losses(plans)


@pytest.mark.parametrize("kind", ["equal", "zero", "duplicates"])
@check
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
    assert torch.isfinite(plan.reduce_size(v.size)[real_of(plan)].log()).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@check
def test_other_dtypes_and_autocast(name, dtype):
    v = view(dtype=dtype)
    reducer = make(name).to(dtype)
    y = reducer(v, KEEP).reduce(v.x, v.size)
    assert y.dtype == dtype
    assert torch.isfinite(y).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = make(name)(view(), KEEP)
        assert torch.isfinite(plan.reduce(view().x, view().size)).all()


@check
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


@check
def test_pickles_and_copies(name):
    reducer = make(name)
    again = pickle.loads(pickle.dumps(reducer))
    expected = reducer(view(), KEEP)
    same(name, again(view(), KEEP), expected, view())
    same(name, copy.deepcopy(reducer)(view(), KEEP), expected, view())


@check
def test_least_is_reachable(name):
    least = type(make(name)).least(N)
    assert 1 <= least < N
    plan = plan_of(name, view(), least)
    assert plan.num_out == least + type(make(name)).extra


@check
def test_tools_that_walk_over_outputs_find_tensors(name):
    """torchinfo.summary takes the size of what each module returns: of a tensor, or of the first in a tuple."""
    walked = []
    reducer = make(name)
    reducer.register_forward_hook(lambda module, inputs, output: walked.append(size_of(output)))
    plan = reducer(view(), KEEP)
    assert walked == [list(plan[0].shape)]
    assert len(walked[0]) >= 2


def test_exceptions_name_checks_and_reasons(name):
    assert set(make(name).exceptions) <= CHECKS
    assert all(make(name).exceptions.values())


@pytest.mark.parametrize("name", [name for name in [*NAMES, *KINDS] if make(name).dynamic])
def test_padding_changes_no_real_token(name):
    v = view()
    real = torch.arange(N) < torch.tensor([N, 20, 9, 1])[:, None]
    plans = []
    for content in (0.0, 1e3, -1e3):
        padded = v._replace(
            x=v.x.where(real[..., None], content), keys=v.keys.where(real[..., None], content), size=real.float(),
            valid=real,
        )  # fmt: skip
        plan = plan_of(name, padded)
        assert (plan.labels[~real] < 0).all()
        plan.check_contents()
        plans.append((plan, plan.reduce(padded.x, padded.size)[real_of(plan)]))
    for plan, reduced in plans[1:]:
        assert torch.equal(plan.labels, plans[0][0].labels)
        assert torch.equal(reduced, plans[0][1])


def test_an_exception_that_is_not_needed_is_found(monkeypatch):
    monkeypatch.setattr(KINDS["soft"], "exceptions", {"shapes": "none"})
    with pytest.raises(AssertionError, match="keeps the promise 'shapes'"):
        test_shapes("soft", keep=KEEP)


def test_an_exception_is_honoured(monkeypatch):
    class Growing(KINDS["learned"]):
        extra = 1
        exceptions = {"exactly_keep": "one more comes out", "shapes": "of one more"}

    monkeypatch.setitem(KINDS, "growing", Growing)
    test_shapes("growing", keep=KEEP)


def size_of(output) -> list[int]:
    if isinstance(output, torch.Tensor):
        return list(output.shape)
    if isinstance(output, (list, tuple)) and output:
        return size_of(output[0])
    raise TypeError(f"Model contains a layer with an unsupported input or output type: {type(output)}")
