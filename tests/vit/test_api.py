"""atc.wrap as a library: names, switches, state dicts, traces, errors."""

import copy
import pickle
import subprocess
import sys

import pytest
import timm
import torch

import atc
from atc.core import Reducer, Select, Stages
from tests import golden

BOTH = torch.float32


def run(model, images=None):
    with torch.no_grad():
        return model(golden.images(BOTH)[:2] if images is None else images)


def wrap(*args, **kwargs):
    return atc.wrap(golden.vit(dtype=BOTH), *args, **kwargs)


def test_trace_tells_labels_sizes_source_and_counts():
    model = wrap("atc_average", keep_rate=0.25)
    run(model)
    assert [s.block for s in model.trace] == [4, 7, 10]
    assert [(s.tokens_in, s.tokens_out) for s in model.trace] == [(196, 49), (49, 12), (12, 3)]
    assert model.tokens_per_block() == [196] * 4 + [49] * 3 + [12] * 3 + [3] * 2
    assert repr(model.trace[1]) == "StageTrace(block 7: 49 -> 12 tokens)"  # not thousands of numbers
    last = model.trace[-1]
    assert last.source.shape == (2, 196)
    for b in range(2):
        counts = torch.bincount(last.source[b], minlength=3)
        assert torch.equal(counts.float(), last.size[b])


def test_tokens_per_block_are_planned_before_the_first_forward():
    for name in ("atc_average", "evit", "dpc_knn"):
        model = wrap(name, 0.5)
        planned = model.tokens_per_block()
        run(model)
        assert planned == model.tokens_per_block()


def test_pruned_patches_have_no_source():
    model = wrap("topk", 0.5)
    run(model)
    assert [(s.source >= 0).sum(1).tolist() for s in model.trace] == [[98] * 2, [49] * 2, [24] * 2]


def test_unwrap_returns_the_very_model():
    vit = golden.vit(dtype=BOTH)
    before = copy.deepcopy(vit.state_dict())
    model = atc.wrap(vit, "tome", 0.5)
    run(model)
    assert atc.unwrap(model) is vit
    assert all(torch.equal(before[k], v) for k, v in vit.state_dict().items())
    with pytest.raises(TypeError, match="unwrap takes what atc"):
        atc.unwrap(vit)


def test_state_dict_has_timms_names_and_takes_a_plain_one():
    vit = golden.vit(dtype=BOTH)
    model = atc.wrap(vit, "dpc_knn", 0.5)
    keys = set(model.state_dict())
    assert keys - set(vit.state_dict()) == {f"reducers.{b}.weight.{p}" for b in (4, 7, 10) for p in ("weight", "bias")}
    assert set(vit.state_dict()) < keys
    plain = {k: torch.zeros_like(v) for k, v in vit.state_dict().items()}
    assert model.load_state_dict(plain).missing_keys == []
    assert not vit.head.weight.any()
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match=r"reducers\.4\.weight\.bias"):
        model.load_state_dict({k: v for k, v in model.state_dict().items() if k != "reducers.4.weight.bias"})
    with pytest.raises(RuntimeError, match=r"head\.weight"):
        model.load_state_dict({k: v for k, v in plain.items() if k != "head.weight"})


def test_state_dict_inside_another_module():
    outer = torch.nn.ModuleDict({"net": wrap("dpc_knn", 0.5)})
    state = outer.state_dict()
    assert "net.blocks.0.attn.qkv.weight" in state
    outer.load_state_dict(state)


def test_to_double_and_back():
    model = wrap("atc_complete", 0.5).double()
    assert run(model, golden.images()[:1]).dtype == torch.float64
    assert model.trace[0].size.dtype == torch.float64
    assert run(model.to(torch.bfloat16), golden.images(torch.bfloat16)[:1]).dtype == torch.bfloat16
    assert model.trace[0].size.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["atc_average", "evit"])
def test_compiles_whole(name):
    model = wrap(name, 0.5)
    expected, tokens = run(model), model.trace.tokens()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(compiled), expected)
    assert model.trace.tokens() == tokens


@pytest.mark.parametrize("name", ["atc_average", "tome", "topk", "evit", "kmedoids", "dpc_knn", "random"])
def test_batch_composition_changes_nothing(name):
    """In float64: matrix products round differently at other batch sizes, and discrete choices amplify that."""
    model, images = wrap(name, 0.5).double(), golden.images()
    torch.testing.assert_close(run(model, images[2:3]), run(model, images)[2:3])


def test_sizes_switches():
    released = wrap("atc_average", 0.7, proportional_attention=False, size_weighted=False)
    stated = wrap("atc_average", 0.7)
    assert (stated.proportional_attention, stated.size_weighted) == (True, True)
    assert not torch.equal(run(released), run(stated))
    assert not wrap("topk", 0.7).proportional_attention


def test_wrapping_keeps_the_mode():
    model = wrap("random", 0.5)
    assert not any(m.training for m in model.modules())
    assert torch.equal(run(model), run(model))
    assert all(m.training for m in atc.wrap(golden.vit().train(), "random", 0.5).modules())


def test_a_reducer_class_will_do():
    class FirstTokens(Reducer):
        def forward(self, view, keep):
            index = torch.arange(keep, device=view.x.device).expand(view.x.shape[0], -1)
            return Select(index, num_in=view.x.shape[1])

    model = wrap(FirstTokens, 0.5)
    run(model)
    assert model.trace.tokens() == [98, 49, 24]


def test_reducer_losses_are_summed_by_name():
    class Costly(Reducer):
        def forward(self, view, keep):
            index = torch.arange(keep).expand(view.x.shape[0], -1)
            return Select(index, num_in=view.x.shape[1])

        def losses(self, plans):
            return {"kept": torch.tensor(float(sum(p.num_out for p in plans)))}

    model = wrap(Costly, 0.5)
    model.train()(golden.images(BOTH)[:1])
    assert model.losses()["kept"] == 98 + 49 + 24
    run(model.eval())
    assert model.losses() == {}


def test_clamped_counts_are_reported():
    model = wrap("tome", 0.5)
    assert model.notices == [
        "ToMe leaves 25 of 49 tokens at block 10: the schedule asks for 24, which is out of its reach"
    ]
    assert wrap("tome", 0.25, clamp=True).trace == ()
    run(model)
    assert model.trace.tokens() == [98, 49, 25]


class First(Reducer):
    def forward(self, view, keep):
        raise NotImplementedError


class WithoutStage(First):
    def __init__(self, stage):
        self.width = 3


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"reducer": "atc_averge", "keep_rate": 0.5}, r"unknown reducer 'atc_averge': did you mean 'atc_average'\?"),
        ({"reducer": "tome"}, "needs a keep_rate"),
        ({"reducer": "tome", "keep_rate": 0.25}, "cannot leave 49 of 196 tokens at block 4: it reaches 98"),
        ({"reducer": "tome", "schedule": "constant"}, "needs t"),
        ({"reducer": "tome", "schedule": "liner", "t": 3}, "unknown schedule 'liner': did you mean 'linear'"),
        ({"reducer": "kmedoids", "schedule": "constant", "t": 8}, "cannot reduce at block 1"),
        ({"reducer": "topk", "keep_rate": 0.5, "reducer_args": {"k": 3}}, "TopK has no argument 'k': it takes none"),
        ({"reducer": "dpc_knn", "keep_rate": 0.5, "reducer_args": {"kk": 3}}, "it takes k, equal_weight, as_rel"),
        ({"reducer": "topk", "keep_rate": 2}, "keep_rate=2 must lie in"),
        ({"reducer": "topk", "keep_rate": 0.5, "blocks": 4}, r"blocks=4 must be a list of whole numbers of 1"),
        ({"reducer": "topk", "keep_rate": 0.5, "t": 8}, 't=8 is for schedule="constant" and "linear"'),
        ({"reducer": "topk", "keep_rate": 0.5, "t": 8, "schedule": "linear"}, "keep_rate=0.5 is for schedule="),
        ({"reducer": First(None), "keep_rate": 0.5}, "of atc.core.Reducer, got an object of the class First;"),
        ({"reducer": lambda stage: First(stage), "keep_rate": 0.5}, "Reducer, got an object of the class function;"),
        ({"reducer": torch.nn.Linear, "keep_rate": 0.5}, "a subclass of atc.core.Reducer, got the class Linear; one"),
        ({"reducer": WithoutStage, "keep_rate": 0.5}, r"^WithoutStage.__init__ must begin with super\(\).__in"),
    ],
)  # fmt: skip
def test_mistakes_get_one_line(kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        wrap(**kwargs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (timm.models.VisionTransformer, "the class VisionTransformer"),
        (golden.vit().state_dict(), "an object of the class OrderedDict"),
        ([golden.vit()], "an object of the class list"),
    ],
)
def test_what_is_no_model_gets_one_line(given, said):
    with pytest.raises(ValueError, match=f"^cannot wrap this backbone: it must be a torch.nn.Module, got {said}$"):
        atc.wrap(given, "topk", 0.5)


def test_a_wrapped_model_is_not_wrapped_again():
    with pytest.raises(ValueError, match="wrapped already"):
        atc.wrap(wrap("topk", keep_rate=0.5), "tome", 0.5)


def test_schedule_objects_are_taken():
    model = wrap("atc_single", schedule=Stages(keep=[50, 20], blocks=[2, 6]))
    run(model)
    assert model.trace.tokens() == [50, 20]


def test_import_of_core_is_light():
    code = "import sys, atc.core; print([m for m in ('timm', 'hydra', 'lightning', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.slow
def test_pickles_copies_and_exports():
    model = wrap("atc_average", 0.5)
    expected = run(model)
    again = pickle.loads(pickle.dumps(model))
    assert list(again.state_dict()) == list(model.state_dict())
    assert torch.equal(run(again), expected)
    assert torch.equal(run(copy.deepcopy(model)), expected)
    exported = torch.export.export(model, (golden.images(BOTH)[:2],)).module()
    torch.testing.assert_close(run(exported), expected)


def test_what_answers_most_mistakes_starts_without_torch():
    code = (
        "import sys, atc.cli, atc.config.errors; print([m for m in ('torch', 'timm', 'lightning') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
