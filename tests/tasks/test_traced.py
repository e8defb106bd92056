"""Evaluations that are traced: what they write, and where they go on."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf

from atc import run
from atc.config import together
from atc.core import Stages, Trace
from atc.run import tracing
from atc.runs import traces
from atc.tasks.traced import Traced, _of_stages
from atc.vit.reduced import ReducedViT
from reducers.dpc_knn import DPCKNN
from reducers.evit import EViT
from reducers.kmedoids import KMedoids
from reducers.random import RandomPruning
from reducers.svit import SViT
from reducers.topk import TopK
from tests import golden
from tests.harness.commands import composed
from tests.reducers import kinds

pytest.importorskip("pyarrow")

ALL = ["trainer.limit_test_batches=1.0", "datamodule.eval_batch_size=50", "trace=true", "keep_rate=0.5"]


def columns(factory, rate=0.5):
    """What a trace has of the six photographs, on the golden backbone."""
    model = ReducedViT(golden.vit(), factory, Stages(blocks=(4, 7, 10), keep_rate=rate)).eval()
    stream = model.start(golden.images())
    for number in range(1, 13):
        stream.step(number)
    plans = [stream.plans[str(stage.block)][0] for stage in stream.stages]
    return _of_stages(stream.stages, plans, 196), Trace(stream.stages)


@pytest.mark.parametrize(
    ("name", "factory"),
    [
        ("topk", functools.partial(TopK)),
        ("evit", functools.partial(EViT)),
        ("kmedoids", functools.partial(KMedoids, as_released=True)),
    ],
)
def test_kept_patches_are_those_of_the_authors(name, factory):
    found, _ = columns(factory)
    known = golden.outputs("stages_all_methods")
    for image in range(6):
        before = list(range(196))
        for number, block in enumerate((4, 7, 10), start=1):
            relative = known[f"{name}|r=0.5|stage{number}|Kept_Tokens"][image].tolist()
            before = [before[one] if one >= 0 else -1 for one in relative]
            bits = np.unpackbits(found[f"kept_{block}"][image], count=196)
            assert set(np.flatnonzero(bits)) == set(before) - {-1}


def test_what_passes_one_block_by_is_kept_at_another() -> None:
    torch.manual_seed(0)
    model = ReducedViT(golden.vit(), SViT, Stages(blocks=(4, 7, 10), keep_rate=0.7)).eval()
    torch.nn.init.normal_(model.reducers["5"].mlp.fc2.weight)
    model.reducers["6"].mlp.fc2.bias.data[0] = 9.0  # all
    traced = Traced.__new__(Traced)
    traced.model, traced.cls_features = model, ()
    traced(golden.images())
    for stage in model.trace:
        bits = np.unpackbits(traced._columns[f"kept_{stage.block}"], axis=1, count=196)
        assert np.array_equal(bits.astype(bool), stage.source.numpy() >= 0)
        assert traced._columns[f"tokens_{stage.block}"].tolist() == bits.sum(axis=1).tolist()
    counts = [stage.real(0) for stage in model.trace if stage.block in (5, 6)]
    assert counts[0] < counts[1] == 196


@pytest.mark.parametrize("kind", [kinds.Padded, kinds.Soft, kinds.Masked])
def test_padded_and_soft_plans_by_loops(kind) -> None:
    torch.manual_seed(0)
    model = ReducedViT(golden.vit(), kind, Stages(blocks=(4, 7, 10), keep_rate=0.6)).eval()
    stream = model.start(golden.images())
    for number in range(1, 13):
        stream.step(number)
    plans = [stream.plans[str(stage.block)][0] for stage in stream.stages]
    found = _of_stages(stream.stages, plans, 196)
    for image in range(6):
        kept, held = list(range(196)), {patch: patch for patch in range(196)}
        for plan, block in zip(plans, (4, 7, 10), strict=True):
            labels = plan.labels[image].tolist()
            held = {patch: labels[token] for patch, token in held.items() if labels[token] >= 0}
            shown = found[f"labels_{block}"][image]
            assert {patch: int(shown[patch]) for patch in range(196) if shown[patch] != 255} == held
            assert found[f"tokens_{block}"][image] == len(set(labels) - {-1})
            if kind is kinds.Soft:
                assert f"kept_{block}" not in found
                continue
            valid = [True] * plan.num_out if plan.valid is None else plan.valid[image].tolist()
            kept = [kept[i] if real else -1 for i, real in zip(plan.indices[image].tolist(), valid, strict=True)]
            bits = np.unpackbits(found[f"kept_{block}"][image], count=196)
            assert set(np.flatnonzero(bits)) == set(kept) - {-1}


@pytest.mark.parametrize("rate", [0.9, 0.7, 0.25])
def test_a_centre_is_one_member_of_its_cluster(rate):
    found, trace = columns(DPCKNN, rate)
    for block, stage in zip((4, 7, 10), trace, strict=True):
        labels = found[f"labels_{block}"]
        bits = np.unpackbits(found[f"kept_{block}"], axis=1, count=196).astype(bool)
        np.testing.assert_array_equal(labels, stage.source.numpy())
        for image in range(6):
            assert sorted(labels[image][bits[image]]) == list(range(stage.tokens_out))
        assert (found[f"tokens_{block}"] == stage.tokens_out).all()


def test_a_patch_fused_with_others_is_not_kept_though_a_token_holds_it():
    found, _ = columns(EViT)
    kept = np.unpackbits(found["kept_10"], axis=1, count=196).astype(bool)
    assert (kept.sum(axis=1) <= 25).all()
    assert (found["labels_10"] != 255).sum() > kept.sum()


def of(directory: Path) -> dict[str, np.ndarray]:
    trace = traces.open_trace(directory)
    names = ["image", "prediction", "target", *(f"cls_{block}" for block in trace.cls_features)]
    names += [f"{kind}_{block}" for block in trace.blocks for kind in ("labels", "tokens")]
    names += [f"kept_{block}" for block in trace.blocks if trace.kept]
    return {name: trace.whole(name) for name in names}


def test_a_trace_changes_no_result(tmp_path: Path) -> None:
    asked = [*ALL, "reducer=evit", "cls_features=[4,12]"]
    traced = run.evaluate(composed("evaluate", tmp_path / "a", *asked))
    plain = run.evaluate(composed("evaluate", tmp_path / "b", *ALL, "reducer=evit", "trace=null"))
    assert traced.results["off_the_shelf"] == plain.results["off_the_shelf"]
    found = of(tmp_path / "a")
    assert found["image"].tolist() == list(range(450))
    accuracy = 100 * np.mean(found["prediction"] == found["target"])
    assert accuracy == pytest.approx(100 * float(traced.results["off_the_shelf"]["accuracy"]), abs=1e-4)
    assert found["cls_4"].shape == found["cls_12"].shape
    assert (found["tokens_4"] == 25).all()


def test_without_reduction_there_are_features_alone(tmp_path: Path) -> None:
    asked = ["reducer=none", "trace=true", "cls_features=[12]", "baselines=true"]
    record = run.evaluate(composed("evaluate", tmp_path, *asked))
    assert "dense" in record.results
    trace = traces.open_trace(tmp_path)
    assert (trace.blocks, trace.kept, trace.cls_features) == ((), False, (12,))


@pytest.mark.parametrize("dies_at", [1, 5, 8])
def test_one_that_is_cut_off_goes_on_behind_its_last_part(tmp_path: Path, monkeypatch, dies_at: int) -> None:
    monkeypatch.setattr(tracing, "Traced", functools.partial(Traced, chunk=120))
    asked = [*ALL, "reducer=kmedoids", "cls_features=[12]"]
    whole = run.evaluate(composed("evaluate", tmp_path / "a", *asked))

    evaluated, calls = Traced.__call__, []

    def dying(self, images):
        calls.append(len(images))
        if len(calls) > dies_at:
            raise KeyboardInterrupt
        return evaluated(self, images)

    cut = composed("evaluate", tmp_path / "b", *asked, "resume=auto")
    with monkeypatch.context() as broken:
        broken.setattr(Traced, "__call__", dying)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run.evaluate(cut)
    assert len(list((tmp_path / "b" / "trace").glob("part-*"))) == dies_at * 50 // 150
    with monkeypatch.context() as counting:
        seen = []
        counting.setattr(Traced, "__call__", lambda self, images: seen.append(len(images)) or evaluated(self, images))
        again = run.evaluate(composed("evaluate", tmp_path / "b", *asked, "resume=auto"))
    assert sum(seen) == 450 - dies_at * 50 // 150 * 150
    assert again.results["off_the_shelf"] == pytest.approx(whole.results["off_the_shelf"])
    one, other = of(tmp_path / "a"), of(tmp_path / "b")
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5, err_msg=name)
    assert not (tmp_path / "b" / "trace" / "unfinished.pt").exists()
    calls.clear()
    with monkeypatch.context() as broken:
        broken.setattr(Traced, "__call__", dying)
        finished = run.evaluate(composed("evaluate", tmp_path / "b", *asked, "resume=auto"))
    assert not calls
    assert finished.status == "finished"


def test_without_pyarrow_nothing_is_begun(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    cfg = composed("evaluate", tmp_path, "trace=true")
    with pytest.raises(ValueError, match=r"pip install .atc-toolkit\[study\]"):
        together.check(cfg, "evaluate")


def test_one_that_dies_behind_the_last_image_goes_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tracing, "Traced", functools.partial(Traced, chunk=50))
    cut = composed("evaluate", tmp_path, *ALL, "reducer=topk", "resume=auto")
    with monkeypatch.context() as broken:
        broken.setattr(traces.TraceWriter, "finish", lambda *_, **__: (_ for _ in ()).throw(OSError("no room is left")))
        with pytest.raises(OSError, match="no room is left"):
            run.evaluate(cut)
    assert not (tmp_path / "trace" / "trace.json").exists()
    record = run.evaluate(composed("evaluate", tmp_path, *ALL, "reducer=topk", "resume=auto"))
    assert record.results["off_the_shelf"]["images"] == 450
    assert of(tmp_path)["image"].tolist() == list(range(450))


def test_what_is_left_of_another_evaluation_is_not_gone_on_with(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tracing, "Traced", functools.partial(Traced, chunk=50))
    with monkeypatch.context() as broken:
        broken.setattr(traces.TraceWriter, "finish", lambda *_, **__: (_ for _ in ()).throw(OSError("no room is left")))
        with pytest.raises(OSError, match="no room is left"):
            run.evaluate(composed("evaluate", tmp_path, *ALL, "reducer=topk", "resume=auto"))
    run.evaluate(composed("evaluate", tmp_path, *ALL, "reducer=kmedoids", "resume=auto"))
    trace = traces.open_trace(tmp_path)
    assert (trace.images, trace.merges, trace.run["reducer"]) == (450, True, "kmedoids")


def test_several_labels_an_image_are_traced_and_resumed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tracing, "Traced", functools.partial(Traced, chunk=40))
    asked = ["datamodule=shapes", "task=multilabel", "reducer=topk", "trace=true", "trainer.limit_test_batches=6"]
    whole = run.evaluate(composed("evaluate", tmp_path / "a", *asked))
    evaluated, left = Traced.__call__, [4]

    def dying(self, images):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return evaluated(self, images)

    cut = composed("evaluate", tmp_path / "b", *asked, "resume=auto")
    with monkeypatch.context() as broken:
        broken.setattr(Traced, "__call__", dying)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run.evaluate(cut)
    again = run.evaluate(composed("evaluate", tmp_path / "b", *asked, "resume=auto"))
    assert again.results["off_the_shelf"] == whole.results["off_the_shelf"]
    one, other = traces.open_trace(tmp_path / "a"), traces.open_trace(tmp_path / "b")
    assert (one.images, other.images, "target" in one.columns) == (96, 96, False)
    for name in one.columns:
        np.testing.assert_array_equal(one.whole(name), other.whole(name), err_msg=name)


def test_a_model_with_registers_but_no_cls_token(tmp_path: Path) -> None:
    vit = timm.create_model("test_vit2", num_classes=10)
    model = ReducedViT(vit, RandomPruning, Stages(blocks=(2,), keep_rate=0.5)).eval()
    assert model.prefix
    with pytest.raises(ValueError, match=r"cls_features=\[2\]: the backbone has no CLS token"):
        Traced(model, tmp_path, [2])


def test_models_and_data_of_any_kind_are_told_apart() -> None:
    cfg = OmegaConf.create(
        {
            "choices": {"reducer": "topk", "backbone": "timm", "datamodule": "folder"},
            "backbone": {"name": "vit_tiny_patch16_224"},
            "datamodule": {"root": "/data/birds"},
        }
    )
    assert tracing._names(cfg) == {
        "reducer": "topk",
        "backbone": "timm:vit_tiny_patch16_224",
        "datamodule": "folder:birds",
    }
    cfg.choices = {"reducer": "topk", "backbone": "deit_tiny", "datamodule": "imagenet"}
    assert tracing._names(cfg) == {"reducer": "topk", "backbone": "deit_tiny", "datamodule": "imagenet"}


def test_blocks_that_are_not_there(tmp_path: Path) -> None:
    model = ReducedViT(golden.vit(), TopK, Stages(blocks=(4,), keep_rate=0.5))
    with pytest.raises(ValueError, match=r"cls_features=\[13\]: the backbone has 12 blocks"):
        Traced(model, tmp_path, [13])
    with torch.no_grad():
        assert Traced(model.eval(), tmp_path, [12])(golden.images()[:1]).shape == (1, 10)
