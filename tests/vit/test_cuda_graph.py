"""Forwards captured as CUDA graphs: on a GPU, and recorded on a CPU."""

import re
import textwrap
from pathlib import Path

import pytest
import timm
import torch

import atc
from atc import run
from atc.config.build import find_reducer, names
from atc.cost import measure
from atc.run import parts
from atc.runs.summary import summary_text
from atc.vit.cuda_graph import CudaGraph, Replayed
from atc.vit.reduced import reducer_class
from tests import recorded_graph
from tests.harness.commands import composed
from tests.reducers.amounts import BY_THRESHOLD, amount


def vit():
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=96, depth=4, num_classes=5).eval()


def wrapped(name, **options):
    blocks = (2,) if name == "tome_2d" else (2, 3)
    return atc.wrap(vit(), name, **({} if name == "none" else amount(name) | {"blocks": blocks}), **options)


def images(seed, size=96):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", names("reducer"))
def test_every_method_can_be_captured(name, monkeypatch):
    recorded_graph.replace(monkeypatch)
    model = wrapped(name)
    graph = CudaGraph(model, images(0))
    for seed in (1, 2):
        with torch.no_grad():
            alone = model(images(seed))
        sources = [stage.source for stage in model.trace]
        # A graph, whose shapes are fixed, masks what such a method does not choose or no image fills, and computes all.
        fewer = model.method.gates or model.method.by_threshold
        near = {"rtol": 1e-5, "atol": 1e-6} if fewer else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(graph(images(seed)), alone, **near)
        assert all(torch.equal(a, b.source) for a, b in zip(sources, model.trace, strict=True))
        assert model.trace is graph.trace


def test_what_it_returns_is_kept_or_not(monkeypatch):
    recorded_graph.replace(monkeypatch)
    model = wrapped("tome")
    first, graph = images(1), CudaGraph(model, images(0))
    kept = graph(first)
    before = kept.clone()
    graph(images(2))
    assert torch.equal(kept, before)
    graph = CudaGraph(model, images(0), clone=False)
    assert graph(first) is graph(images(2))


def test_it_draws_new_random_numbers_at_each_replay(monkeypatch):
    class Drawn(atc.core.Reducer):
        def forward(self, view, keep):
            drawn = self.draw(view.size.shape, view.size)
            return atc.core.Select(drawn.topk(keep, dim=1).indices, num_in=view.x.shape[1])

    recorded_graph.replace(monkeypatch)
    graph = CudaGraph(wrapped(Drawn), images(0))
    graph(images(0))
    first = graph.trace[0].labels.clone()
    graph(images(0))
    assert not torch.equal(first, graph.trace[0].labels)


def test_a_draw_of_numpy_is_refused(monkeypatch):
    recorded_graph.replace(monkeypatch)
    model = wrapped("kmedoids", as_released=True, reducer_args={"equal_weight": True})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(ValueError, match="as_released draws from NumPy, which a CUDA graph cannot repeat"):
        CudaGraph(model, images(0))


def test_images_on_a_cpu_are_refused():
    with pytest.raises(ValueError, match=r"images must be on a GPU, got torch.float32 \[2, 3, 96, 96\]: torch"):
        atc.cuda_graph(wrapped("topk"), images(0))


def test_wrong_use_is_refused_in_a_line(monkeypatch):
    recorded_graph.replace(monkeypatch)
    model = wrapped("topk")
    with pytest.raises(ValueError, match="images must be a dense floating tensor"):
        atc.cuda_graph(model, images(0)[0])
    with pytest.raises(ValueError, match=r"images=photograph\.jpg must be a Tensor"):
        atc.cuda_graph(model, "photograph.jpg")
    graph = CudaGraph(model, images(0))
    for other in (images(0)[:1], images(0).double(), images(0).to("meta"), None):
        with pytest.raises(ValueError, match="was captured for images"):
            graph(other)
    model.train()
    with pytest.raises(ValueError, match="evaluation mode"):
        graph(images(0))
    with pytest.raises(ValueError, match="evaluation mode"):
        CudaGraph(model, images(0))


def test_other_images_go_through_the_model_as_it_is(monkeypatch):
    recorded_graph.replace(monkeypatch)
    model = wrapped("tome")
    replayed = Replayed(model)
    with torch.no_grad():
        for some in (images(0), images(1), images(1)[:1], images(2)):
            assert torch.equal(replayed(some), model(some))
    assert len(recorded_graph.made) == 1


def test_an_evaluation_replays(tmp_path, monkeypatch):
    recorded_graph.replace(monkeypatch)
    monkeypatch.setattr(parts, "_check_replay", lambda *_: None)
    settings = ["reducer=tome", "datamodule.eval_batch_size=80", "trainer.limit_test_batches=1.0"]
    eager = run.evaluate(composed("evaluate", tmp_path / "eager", *settings))
    replayed = run.evaluate(composed("evaluate", tmp_path / "replayed", *settings, "cuda_graph=true"))
    assert replayed.results["off_the_shelf"] == eager.results["off_the_shelf"]
    assert len(recorded_graph.made) == 1


def test_both_speeds_are_measured_and_shown(tmp_path, monkeypatch):
    recorded_graph.replace(monkeypatch)
    monkeypatch.setattr(measure, "replays", lambda images: True)
    record = run.evaluate(composed("evaluate", tmp_path, "reducer=tome"))
    assert set(record.results["images_per_second_replayed"]) == {"dense", "reduced"}
    speeds = record.results | {
        "images_per_second": {"dense": 100.0, "reduced": 50.0},
        "images_per_second_replayed": {"dense": 200.0, "reduced": 300.0},
    }
    text = summary_text(record.replace(results=speeds), outputs="x")
    assert [line.split()[-2:] for line in text.splitlines() if "images/s" in line] == [
        ["50", "(x0.50)"],
        ["300", "(x1.50)"],
    ]
    config = dict(record.config) | {"cuda_graph": True}
    text = summary_text(record.replace(results=speeds, config=config), outputs="x")
    first, second = (line for line in text.splitlines() if "images/s" in line)
    assert first.split()[-2:] == ["300", "(x1.50)"]
    assert "without a CUDA graph" in second


def test_what_cannot_be_captured_ends_no_run(tmp_path, monkeypatch, caplog):
    recorded_graph.replace(monkeypatch)
    monkeypatch.setattr(measure, "replays", lambda images: True)
    monkeypatch.setattr(recorded_graph.Graph, "replay", lambda self: (_ for _ in ()).throw(RuntimeError("no\nmemory")))
    record = run.evaluate(composed("evaluate", tmp_path, "reducer=tome"))
    assert "images_per_second_replayed" not in record.results
    assert record.status == "finished"
    assert "no speed as a CUDA graph: no memory" in caplog.text


WAITING = [
    name for name in names("reducer") if reducer_class(find_reducer(name)).gates or name in BY_THRESHOLD
]  # to compute no more than chosen


# Masked and left out are the same up to rounding, which in bfloat16 can turn a choice.
@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, None) for name in names("reducer")]
    + [(name, torch.bfloat16) for name in names("reducer") if name not in WAITING],
)
def test_a_replay_is_the_eager_forward(name, dtype):
    model = wrapped(name).cuda()
    with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None), torch.no_grad():
        graph = atc.cuda_graph(model, images(0).cuda())
        for seed in (1, 2):
            alone = model(images(seed).cuda())
            sources = [stage.source for stage in model.trace]
            torch.testing.assert_close(graph(images(seed).cuda()), alone)
            assert all(torch.equal(a, b.source) for a, b in zip(sources, model.trace, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("size", [224, 518, 1024])
@pytest.mark.parametrize("name", ["atc_average", "atc_complete", "atc_single"])
def test_clustering_of_any_number_of_tokens_is_captured(name, size):
    torch.manual_seed(0)
    host = timm.create_model("vit_tiny_patch16_224", img_size=size, depth=3, num_classes=5).cuda().eval()
    model = atc.wrap(host, name, 0.5, (2,))
    graph = atc.cuda_graph(model, images(0, size).cuda())
    with torch.no_grad():
        alone = model(images(1, size).cuda())
    torch.testing.assert_close(graph(images(1, size).cuda()), alone)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in names("reducer") if name not in WAITING])
def test_no_method_waits_for_the_gpu(name):
    model = wrapped(name).cuda()
    with torch.no_grad():
        model(images(0).cuda())
        some = images(1).cuda()
        torch.cuda.set_sync_debug_mode("error")
        try:
            model(some)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_the_example_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "speed.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {"atc": atc, "vit": timm.create_model("vit_tiny_patch16_224").eval(), "images": images(0, 224).cuda()}
    exec(textwrap.dedent(example), names)
    assert names["logits"].shape == (2, 1000)
    assert names["trace"].tokens() == [98, 49, 24]
