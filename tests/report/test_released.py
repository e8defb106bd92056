"""Checkpoints in exactly the structure in which the authors' training script writes them."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from atc import run
from atc.report import released as report
from atc.vit import released
from atc.vit.backbones import SHIPPED_DIGITS, digits, read_weights
from tests.harness.commands import TINY, command, composed

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
    assert set(report.overrides(args)) == {
        "backbone=deit_small",
        "reducer=atc_complete",
        "as_released=true",
        "datamodule=nabirds",
        "schedule=stages",
        "blocks=[4, 7, 10]",
        "keep_rate=0.25",
        "proportional_attention=true",
        "size_weighted=true",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "tome_base_patch16_224"}, {"backbone=deit_base", "reducer=tome"}),
        ({"model": "deit_tiny_patch16_224"}, {"backbone=deit_tiny", "reducer=none"}),
        ({"model": "dpcknn_tiny_patch16_224", "equal_weight": True, "k_neighbors": 7},
         {"reducer=dpc_knn", "reducer.equal_weight=True", "reducer.k=7"}),
        ({"model": "kmedoids_tiny_patch16_224", "cluster_iters": 2}, {"reducer=kmedoids", "reducer.iterations=2"}),
        ({"dataset": "nuswide", "linkage": "single"}, {"datamodule=nus_wide", "reducer=atc_single"}),
        ({"proportional_attn": False}, {"proportional_attention=false", "size_weighted=false"}),
        ({"reduction_ratio": [98.0, 49.0, 24.0]}, {"schedule.keep_rate=null", "+schedule.keep=[98, 49, 24]"}),
        ({"input_size": 384}, {"backbone.img_size=384"}),
    ],
)  # fmt: skip
def test_settings_of_other_models(changes: dict[str, Any], expected: set[str]) -> None:
    found = set(report.overrides({**ARGS, **changes}))
    assert expected <= found
    if not changes.get("model", "atc").startswith("atc"):
        assert not any(text.startswith("proportional_attention") for text in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "atc_giant_patch16_224"}, "backbone=deit_giant"),
        ({"model": "sort_small_patch16_224"}, "reducer=sort; there are the reducers atc_average"),
        ({"linkage": "centroid"}, "reducer=atc_centroid"),
        ({"scoring_method": "V"}, "clusters by V"),
    ],
)
def test_models_that_cannot_be_rebuilt(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report.overrides({**ARGS, **changes})


def test_learned_layers_of_dpc_knn_go_to_their_blocks(tmp_path: Path) -> None:
    raw, _ = states()
    layers = {f"cluster_layers.{stage}.score.weight": torch.full((1, 48), float(stage)) for stage in range(3)}
    layers |= {f"cluster_layers.{stage}.score.bias": torch.zeros(1) for stage in range(3)}
    found = read_weights(write(tmp_path / "w.pth", raw | layers, raw, ema_best=False))
    cfg = composed("evaluate", tmp_path / "run", "reducer=dpc_knn", "as_released=true", "seed=3")
    model = run.Experiment(cfg).model
    model.load_state_dict(found)
    assert [model.reducers[block].weight.weight.mean().item() for block in ("4", "7", "10")] == [0, 1, 2]


def test_no_code_is_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "touched",))

    path = write(tmp_path / "w.pth", *states(), harmful=Harmful())
    for read in (read_weights, released.arguments):
        with pytest.raises(ValueError, match="refused as it could run code"):
            read(path)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Harmful(), protocol=2))
    with pytest.raises(ValueError, match="not a readable weight file"):
        read_weights(tmp_path / "raw.pth")
    assert not (tmp_path / "touched").exists()


def test_the_command_takes_the_settings_and_the_command_line_overrides_them(tmp_path: Path) -> None:
    """A DeiT-Tiny, so that every setting is the file's; on digits, which only the command line says."""
    vit = timm.create_model("deit_tiny_patch16_224", num_classes=10)
    state = vit.state_dict()
    path = write(tmp_path / "best_checkpoint.pth", state, state, model="atc_tiny_patch16_224", linkage="single")
    small = [
        text for text in TINY if text.startswith(("trainer.limit_test", "trainer.acc", "datamodule.eval", "bench"))
    ]
    small = [text.replace("16", "2") for text in small]
    data = ["datamodule=digits", "keep_rate=0.5", "logger=none"]
    done = command("evaluate.py", f"checkpoint={path}", *data, *small, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "settings of the checkpoint: backbone=deit_tiny reducer=atc_single" in done.stdout
    assert "atc_single, stages: keep_rate=0.5, blocks=[4, 7, 10], as_released=True" in " ".join(done.stdout.split())
    assert "196 196 196 196 98 98 98 49 49 49 24 24" in " ".join(done.stdout.split())


def test_addresses_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names: asked.append(names) or str(SHIPPED_DIGITS))
    assert released.local("hf://joakimbh/ATC/some/file.pth") == SHIPPED_DIGITS
    assert asked == [("joakimbh/ATC", "some/file.pth")]
    assert torch.equal(read_weights("hf://a/b/c.safetensors")["head.weight"], digits().head.weight)
    with pytest.raises(ValueError, match="hf://OWNER/REPO/FILE"):
        released.local("hf://joakimbh/ATC")


def test_without_a_network() -> None:
    with pytest.raises(ConnectionError, match="get the file by other means and name its path"):
        released.local("hf://joakimbh/ATC/nothing.pth")
