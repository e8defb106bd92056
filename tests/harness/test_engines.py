"""Precision, compilation, accumulation, recomputed activations: each by one setting, each the same training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from atc import run
from atc.vit.backbones import digits
from tests.harness.commands import TINY, command, composed

ONE = ["baselines=false", "trainer.max_epochs=1", "optimizer.warmup_epochs=0"]
# Scenes are drawn the same whatever the batch. SGD: Adam makes a whole step of a gradient that is 0 but for rounding.
SCENES = [
    *("datamodule=shapes", "datamodule.target=class", "task=classification", "datamodule.num_workers=0"),
    *("reducer=topk", *ONE),
    *("optimizer.opt=sgd", "optimizer.lr=0.05", "trainer.limit_test_batches=2"),
]
# Compiles in seconds.
SMALL = [
    *("backbone=timm", "backbone.name=vit_tiny_patch16_224", "backbone.pretrained=false", "backbone.img_size=32"),
    *("+backbone.patch_size=8", "+backbone.embed_dim=32", "+backbone.depth=2", "+backbone.num_heads=2", "blocks=[1]"),
]


def trained(folder: Path, *settings: str, watch: Callable[..., Any] | None = None) -> tuple[dict[str, Tensor], Any]:
    """Weights after a training, and its results; `watch`: a forward hook of the first block's qkv."""
    build = run.build

    def built(*args: Any, **kwargs: Any) -> run.Parts:
        parts = build(*args, **kwargs)
        if watch is not None:
            parts.vit.blocks[0].attn.qkv.register_forward_hook(watch)  # type: ignore[index, union-attr]
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build", built)
        record = run.train(composed("train", folder, *settings))
    assert record.status == "finished"
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"], record.results


@pytest.mark.slow
def test_compiled(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    settings = [*SCENES, *SMALL, "trainer.limit_test_batches=1"]
    expected, plain = trained(tmp_path / "plain", *settings)
    assert not counters["stats"]["unique_graphs"]
    found, compiled = trained(tmp_path / "compiled", *settings, "compile={backend:aot_eager}")
    assert counters["stats"]["unique_graphs"] > 0
    assert compiled["fine_tuned"] == pytest.approx(plain["fine_tuned"], rel=1e-4)
    assert compiled["gflops"] == plain["gflops"]
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_activation_checkpointing_changes_no_bit(tmp_path: Path) -> None:
    """With everything on that draws random numbers: what is computed again draws the same ones."""
    settings = ["reducer=random", "task.mixup=0.5", "backbone.drop_path_rate=0.2", *ONE]
    calls = {"plain": 0, "again": 0}

    def count(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            calls[name] += module.training

        return hook

    expected, plain = trained(tmp_path / "plain", *settings, watch=count("plain"))
    found, results = trained(tmp_path / "again", *settings, "activation_checkpointing=true", watch=count("again"))
    assert (calls["plain"], calls["again"]) == (3, 6)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert results["fine_tuned"] == plain["fine_tuned"]


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    expected, _ = trained(tmp_path / "one", *SCENES, "datamodule.batch_size=24", "trainer.limit_train_batches=2")
    three = ["datamodule.batch_size=8", "trainer.limit_train_batches=6", "trainer.accumulate_grad_batches=3"]
    found, _ = trained(tmp_path / "three", *SCENES, *three)
    start = run.build(composed("train", tmp_path / "start", *SCENES)).task.state_dict()
    assert not torch.allclose(expected["model.blocks.0.mlp.fc1.weight"], start["model.blocks.0.mlp.fc1.weight"])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", pytest.param("16-mixed", marks=pytest.mark.slow)])
def test_half_precision(tmp_path: Path, precision: str) -> None:
    """On a CPU, Lightning takes bfloat16 for either; gradients are clipped as well."""
    seen = set()
    weights, results = trained(
        *(tmp_path, "reducer=atc_average", *ONE, "trainer.gradient_clip_val=1.0"),
        f"trainer.precision={precision}",
        watch=lambda module, inputs, output: seen.add((module.training, output.dtype)),
    )
    assert {(True, torch.bfloat16), (False, torch.bfloat16)} <= seen
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in weights.values() if value.ndim)
    assert results["fine_tuned"]["accuracy"] > 0.5


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-true", torch.bfloat16), ("64-true", torch.float64)])
def test_another_precision_throughout(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    settings = ["reducer=atc_average", f"trainer.precision={precision}"]
    _, results = trained(tmp_path / "train", *ONE, *settings)
    assert results["gflops"]["reduced"] < results["gflops"]["dense"]
    assert load_file(tmp_path / "train" / "weights.safetensors")["head.weight"].dtype == dtype
    evaluated = run.evaluate(composed("evaluate", tmp_path / "evaluate", *settings))
    assert evaluated["results"]["gflops"] == results["gflops"]


@pytest.mark.gpu
@pytest.mark.parametrize("extra", [[], ["compile=true"]], ids=["eager", "compiled"])
def test_half_precision_on_a_gpu(tmp_path: Path, extra: list[str]) -> None:
    """float16, whose gradients are scaled."""
    seen = set()
    settings = ["trainer.accelerator=gpu", "trainer.precision=16-mixed", "trainer.gradient_clip_val=1.0", *extra]
    weights, results = trained(
        *(tmp_path, "reducer=atc_average", "baselines=false", *settings),
        watch=None if extra else lambda module, inputs, output: seen.add(output.dtype),
    )
    assert extra or torch.float16 in seen
    assert all(value.isfinite().all() for value in weights.values())
    assert "scale" in torch.load(tmp_path / "last.ckpt", weights_only=True)["MixedPrecision"]
    assert results["fine_tuned"]["accuracy"] > 0.5


@pytest.mark.gpu
def test_fully_sharded_on_gpus(tmp_path: Path) -> None:
    """As many as there are; what is trained and saved is tested on CPUs, in tests/recipes/test_processes.py."""
    settings = ["trainer.accelerator=gpu", "trainer.devices=-1", "trainer.strategy=fsdp", "trainer.precision=16-mixed"]
    done = command("train.py", *TINY, "baselines=false", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (weights,) = tmp_path.glob("runs/train/*/weights.safetensors")
    assert {name: value.shape for name, value in load_file(weights).items()} == {
        name: value.shape for name, value in digits(pretrained=False).state_dict().items()
    }
