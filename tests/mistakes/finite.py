"""Numbers that are not finite, and what a machine runs out of."""

import math
from importlib import resources
from pathlib import Path

from tests.mistakes import Mistake

QUICK = "trainer.max_epochs=1 optimizer.warmup_epochs=0 baselines=false benchmark.seconds=0.05 trainer.accelerator=cpu"


def broken_weights(directory: Path) -> None:
    """One weight of a backbone is NaN."""
    from safetensors.torch import load_file, save_file  # which imports torch

    weights = load_file(str(resources.files("atc") / "assets" / "vit_digits.safetensors"))
    weights["blocks.2.mlp.fc1.weight"][0, 0] = math.nan
    save_file(weights, directory / "nan.safetensors")


HERE = "datamodule._target_=tests.harness.dying"

MISTAKES = [
    Mistake(f"train {QUICK} optimizer.lr=1e30", ("the loss is not finite at step 1; the last finite loss was 0.",)),
    Mistake(
        f"train {QUICK} optimizer.lr=1e30 optimizer.opt=sgd callbacks=ema",
        ("the loss is not finite at step",),
        slow=True,
    ),
    Mistake(
        f"train {QUICK} baselines=true backbone.checkpoint=nan.safetensors",
        ("dense: the logits of 450 of 450 images are not finite",),
        prepare=broken_weights,
        slow=True,
    ),
    Mistake(
        "evaluate checkpoint=nan.safetensors reducer=topk",
        ("checkpoint: the logits of 450 of 450 images are not finite",),
        prepare=broken_weights,
    ),
    Mistake(
        f"evaluate reducer=none {HERE}.Killed",
        ("a process that reads images was killed", "lower datamodule.num_workers or datamodule.eval_batch_size"),
    ),
    Mistake(
        f"evaluate reducer=none {HERE}.NoMemory",
        ("the machine is out of memory: lower datamodule.num_workers or datamodule.eval_batch_size",),
    ),
]
