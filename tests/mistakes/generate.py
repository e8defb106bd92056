"""python -m atc.diffusion.generate: settings it cannot have, and directories that hold no pipeline."""

from pathlib import Path

from tests.mistakes import Mistake

RATE = "must be a number in (0, 1]"
VALUES = {
    "keep_rate=0": "keep_rate=0 must lie in (0, 1]",
    "keep_rate=1.1": "keep_rate=1.1 must lie in (0, 1]",
    "keep_rate=half": "keep_rate=half",
    "keep_rate=[0.5,0.6]": "must be a number, or one for each of merging.sites=[attn1]; for one run each: -m",
    "per_class=0": "per_class=0 must lie in [1, 100000]",
    "per_class=1.5": "per_class=1.5 must be a whole number",
    "classes=[0,1000]": "1000 is no class of ImageNet, which are numbered from 0 to 999",
    "classes=[7,7]": "7 stands there 2 times",
    "classes=[]": "names no class",
    "classes=cifar10": "classes=cifar10: there is no such file",
    "classes=7": "there is no such file",
    "prompt=hello": "prompt=hello has no {}, where the name of the class goes",
    "shard=4/4": "shard=4/4 must be NUMBER/COUNT, counted from 0",
    "shard=half": "shard=half must be NUMBER/COUNT",
    "seed=-1": "seed=-1 must lie in",
    "sampling.steps=0": "sampling.steps=0 must lie in [1, 1000]",
    "sampling.height=30": "sampling.height=30 must be a multiple of 8",
    "sampling.guidance=-1": "sampling.guidance=-1 must be 0 or more",
    "sampling.precision=fp8": "sampling.precision=fp8 must be fp32, fp16 or bf16, or null",
    "sampling.stepz=3": "'sampling' has no setting 'stepz': did you mean 'steps'",
    "merging.sites=[attn3]": "attn3 is none of attn1, attn2, ff, kv",
    "merging.sites=[]": "must be one or more",
    "merging.sites=[attn1,kv]": "not both attn1 and kv",
    "merging.every=0": "merging.every=0 must be 1 or more",
    "merging.steps=[5]": "merging.steps=[5] must be the first and the last step",
    "merging.steps=[5,2]": "merging.steps=[5, 2] must be the first and the last step",
    "pipeline=nowhere": "pipeline=nowhere: there is no such directory",
    "pipeline=./a/b": "pipeline=./a/b: there is no such directory",
    "pipeline=empty": "pipeline=empty has no model_index.json",
    "pipeline=file": "pipeline=file is a file",
    "images=file": "images=file is a file, and must be a directory",
    "paths.runs=file": "paths.runs=file is a file, and must be a directory",
    "fid.reference=nowhere": "fid.reference=nowhere: there is no such directory",
    "fid.resizer=dirty": "fid.resizer=dirty must be clean or torch_fidelity",
    "reducer=tome2d": "unknown reducer 'tome2d': did you mean 'tome_2d'",
    "reducer=[tome_2d,atc_average]": "a run has one reducer; for one run each: -m reducer=tome_2d,atc_average",
    "reducer=null": "reducer=null: a run needs one; reducer=none is no reduction",
    "experiment=smok": "unknown experiment 'smok': did you mean 'smoke'",
    "backbone=deit_tiny": "backbone",
    "resume=last": "resume=last must be auto, or null",
}


def prepare(here: Path) -> None:
    """A directory without a pipeline, and a file."""
    (here / "empty").mkdir()
    (here / "file").write_text("text")


MISTAKES = [
    *(
        Mistake(f"generate pipeline=stable-diffusion-v1-5/stable-diffusion-v1-5 {said}", (answer,), prepare=prepare)
        if not said.startswith("pipeline=")
        else Mistake(f"generate {said}", (answer,), prepare=prepare)
        for said, answer in VALUES.items()
    ),
    Mistake(
        "evaluate --config-dir sweeps -cn table2",
        ("table2 is a sweep for python -m atc.diffusion.generate, not for evaluate.py",),
        prepare=lambda here: _sweep(here, "generate"),
    ),
    Mistake(
        "generate --config-dir sweeps -cn table2",
        ("table2 is a sweep for evaluate.py, not for python -m atc.diffusion.generate",),
        prepare=lambda here: _sweep(here, "evaluate"),
    ),
    Mistake("report atc_table2_stable_diffusion --wandb-sweep sweeps", ("which does not log to W&B",)),
    Mistake("report atc_table2_stable_diffusion image=1_0.png", ("is for figures of generated images",)),
    Mistake("report atc_fig6_stable_diffusion image=../1_0.png", ("must be the name of a generated image",)),
]


def _sweep(here: Path, command: str) -> None:
    (here / "sweeps").mkdir()
    (here / "sweeps" / "table2.yaml").write_text(
        f"defaults: [{command}, override hydra: sweep, override hydra/sweeper: grid, _self_]\n"
        "sweep: table2\nhydra: {sweeper: {grids: [{reducer: none}]}}\n"
    )
