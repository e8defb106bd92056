"""Checkpoints in exactly the structure in which the authors' training script writes them."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import atc
from atc import run
from atc.config import released as report
from atc.vit.backbones import digits, read_weights
from atc.weights import released
from tests import golden
from tests.harness.commands import composed

State = dict[str, torch.Tensor]
ARGS: dict[str, Any] = {
    "batch_size": 256,
    "epochs": 30,
    "model": "atc_small_patch16_224",
    "input_size": 224,
    "drop_path": 0.1,
    "model_ema": True,
    "model_ema_decay": 0.99996,
    "opt_betas": None,
    "lr": 0.001,
    "dataset": "nabirds",
    "output_dir": "/results/fresh-sun-1",
    "reduction_loc": [3, 6, 9],
    "reduction_ratio": [0.25],
    "linkage": "complete",
    "proportional_attn": True,
    "num_classes": 555,
}


def write(path: Path, raw: State, averaged: State | None, **changes: Any) -> Path:
    """best_checkpoint.pth: ema_best is NumPy's where the score was a mAP."""
    args = {**ARGS, **changes}
    ema_best = args.pop("ema_best", np.bool_(True))
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    contents = {
        "model": raw,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": {"base_values": [0.001], "metric": None, "t_in_epochs": False},
        "epoch": 29,
        "model_ema": averaged,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
        "args": argparse.Namespace(**args),
        "ema_best": ema_best,
    }
    torch.save(contents, path)
    return path


def states() -> tuple[State, State]:
    return digits().state_dict(), digits(pretrained=False).state_dict()


@pytest.mark.parametrize("ema_best", [True, False, np.bool_(True), np.bool_(False)])
def test_the_better_weights(tmp_path: Path, ema_best: Any) -> None:
    raw, averaged = states()
    found = read_weights(write(tmp_path / "best_checkpoint.pth", raw, averaged, ema_best=ema_best))
    assert all(torch.equal(found[key], (averaged if ema_best else raw)[key]) for key in raw)


def test_without_an_average(tmp_path: Path) -> None:
    raw, _ = states()
    found = read_weights(write(tmp_path / "w.pth", raw, None, ema_best=True))
    assert torch.equal(found["head.weight"], raw["head.weight"])


def test_settings(tmp_path: Path) -> None:
    args = released.arguments(write(tmp_path / "w.pth", *states()))
    assert args == ARGS
    options, values = report.settings(args)
    assert options == {
        "backbone": "deit_small",
        "reducer": "atc_complete",
        "datamodule": "nabirds",
        "schedule": "stages",
    }
    assert values == {
        "as_released": True,
        "blocks": [4, 7, 10],
        "keep_rate": 0.25,
        "proportional_attention": True,
        "size_weighted": True,
    }


@pytest.mark.parametrize(
    ("changes", "options", "values"),
    [
        ({"model": "tome_base_patch16_224"}, {"backbone": "deit_base", "reducer": "tome"}, {}),
        ({"model": "deit_tiny_patch16_224"}, {"backbone": "deit_tiny", "reducer": "none"}, {}),
        ({"model": "dpcknn_tiny_patch16_224", "equal_weight": True, "k_neighbors": 7},
         {"reducer": "dpc_knn"}, {"reducer.equal_weight": True, "reducer.k": 7}),
        ({"model": "kmedoids_tiny_patch16_224", "cluster_iters": 2},
         {"reducer": "kmedoids"}, {"reducer.iterations": 2}),
        ({"dataset": "nuswide", "linkage": "single"}, {"datamodule": "nus_wide", "reducer": "atc_single"}, {}),
        ({"proportional_attn": False}, {}, {"proportional_attention": False, "size_weighted": False}),
        ({"reduction_ratio": [98.0, 49.0, 24.0]}, {}, {"schedule.keep_rate": None, "schedule.keep": [98, 49, 24]}),
        ({"input_size": 384}, {}, {"backbone.img_size": 384}),
        ({"reduction_ratio": [np.float64(0.5)], "input_size": np.int64(384)}, {},
         {"keep_rate": 0.5, "backbone.img_size": 384}),
    ],
)  # fmt: skip
def test_settings_of_other_models(changes: dict[str, Any], options: dict[str, str], values: dict[str, Any]) -> None:
    found = report.settings({**ARGS, **changes})
    assert options.items() <= found.options.items()
    assert values.items() <= found.values.items()
    assert all(type(value) in (bool, int, float, list, type(None)) for value in found.values.values())
    if not changes.get("model", "atc").startswith("atc"):
        assert "proportional_attention" not in found.values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "atc_giant_patch16_224"}, "backbone=deit_giant"),
        ({"model": "sort_small_patch16_224"}, "reducer=sort; there are the reducers .*atc_average"),
        ({"linkage": "centroid"}, "reducer=atc_centroid"),
        ({"scoring_method": "V"}, "clusters by V"),
    ],
)
def test_models_that_cannot_be_rebuilt(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report.settings({**ARGS, **changes})


EVIL = "{_target_:os.makedirs,name:marker}"


@pytest.mark.parametrize(
    "changes",
    [
        *({name: EVIL} for name in ("input_size", "dataset", "linkage", "reduction_ratio", "proportional_attn")),
        *({name: [EVIL]} for name in ("reduction_ratio", "reduction_loc", "model", "dataset")),
        {"input_size": {"_target_": "os.makedirs"}},
        {"input_size": True},
        {"input_size": float("nan")},
        {"input_size": 224.5},
        {"input_size": -1},
        {"input_size": 10**30},
        {"reduction_ratio": []},
        {"reduction_ratio": [True]},
        {"reduction_ratio": [1.5]},
        {"reduction_ratio": [float("nan")]},
        {"reduction_ratio": ["${oc.env:HOME}"]},
        {"reduction_ratio": [98, EVIL, 24]},
        {"reduction_ratio": [98, 49.5, 24]},
        {"reduction_loc": [3, "6", 9]},
        {"reduction_loc": [-1]},
        {"reduction_loc": list(range(10**4))},
        {"proportional_attn": 1},
        {"proportional_attn": "false"},
        {"model": 7},
        {"model": f"{EVIL}_small_patch16_224"},
        {"model": "atc_small hydra.run.dir=/marker_patch16_224"},
        {"model": "../reducer/none_small"},
        {"dataset": "digits hydra.run.dir=marker"},
        {"dataset": "digits\x1b[2J\nerror"},
        {"linkage": "average,single"},
        *({"model": "dpcknn_tiny_patch16_224", name: EVIL} for name in ("k_neighbors", "equal_weight")),
        {"model": "kmedoids_tiny_patch16_224", "cluster_iters": EVIL},
    ],
    ids=lambda changes: repr(changes)[:60],
)
def test_settings_are_data(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the checkpoint") as error:
        report.settings({**ARGS, **changes})
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["model", "reduction_loc", "reduction_ratio"])
def test_settings_that_are_missing(name: str) -> None:
    with pytest.raises(ValueError, match=f"args.{name} is missing"):
        report.settings({key: value for key, value in ARGS.items() if key != name})


def learned(method: str) -> State:
    """Layers of the authors' own, under the names their code gives them."""
    found = golden.outputs("stages_all_methods_params")
    start = f"{method}|r=0.5|"
    return {key.removeprefix(start): torch.from_numpy(found[key]) for key in found if key.startswith(start)}


@pytest.mark.parametrize("ema_best", [True, False])
def test_learned_layers_of_dpc_knn_give_the_authors_logits(tmp_path: Path, ema_best: bool) -> None:
    good = golden.vit(dtype=torch.float32).state_dict() | learned("dpcknn")
    bad = {key: torch.zeros_like(value) for key, value in good.items()}
    states = (bad, good) if ema_best else (good, bad)
    args = {"model": "dpcknn_tiny_patch16_224", "reduction_ratio": [0.5], "ema_best": ema_best}
    path = write(tmp_path / "best_checkpoint.pth", *states, **args)
    model = atc.wrap(golden.vit(dtype=torch.float32), "dpc_knn", 0.5, as_released=True)
    run.load(model, path)
    with torch.no_grad():
        logits = model.double()(golden.images()).numpy()
    expected = golden.outputs("stages_all_methods")["dpcknn|r=0.5|logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_learned_layers_go_to_the_blocks_that_reduce(tmp_path: Path) -> None:
    raw, _ = states()
    layers = learned("dpcknn")
    path = write(tmp_path / "w.pth", raw | layers, None, reduction_loc=[1, 4, 10])
    cfg = composed("evaluate", tmp_path / "run", "reducer=dpc_knn", "as_released=true", "blocks=[2,5,11]")
    model = run.build(cfg).model
    run.load(model, path)
    for stage, block in enumerate(("2", "5", "11")):
        assert torch.equal(model.reducers[block].weight.weight, layers[f"cluster_layers.{stage}.score.weight"])
        assert torch.equal(model.reducers[block].weight.bias, layers[f"cluster_layers.{stage}.score.bias"])


def test_learned_layers_are_left_out_where_nothing_takes_them(tmp_path: Path) -> None:
    good = golden.vit(dtype=torch.float32).state_dict()
    path = write(tmp_path / "w.pth", good | learned("dpcknn"), None)
    for reducer in ("topk", "none"):
        model = atc.wrap(golden.vit(dtype=torch.float32), reducer, 0.5)
        torch.nn.init.zeros_(model.vit.head.weight)
        run.load(model, path)
        assert torch.equal(model.vit.head.weight, good["head.weight"])


def test_learned_layers_without_their_blocks(tmp_path: Path) -> None:
    raw, _ = states()
    torch.save({"model": raw | learned("dpcknn")}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"layer of stage 1 .* does not say at which block"):
        read_weights(tmp_path / "w.pth")


def test_no_code_is_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "touched",))

    path = write(tmp_path / "w.pth", *states(), harmful=Harmful())
    for read in (read_weights, released.arguments):
        with pytest.raises(
            ValueError, match=r"refused as it could run code: it holds \S+; who trusts its origin \S.*$"
        ):
            read(path)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Harmful(), protocol=2))
    with pytest.raises(ValueError, match="not a readable weight file"):
        read_weights(tmp_path / "raw.pth")
    assert not (tmp_path / "touched").exists()
