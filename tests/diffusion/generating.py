"""Configurations of python -m atc.diffusion.generate for a small random pipeline, and that pipeline on disk."""

import functools
import tempfile
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from atc.config import build
from atc.config.check import check
from atc.config.combinations import chosen_options

SIDE = 16  # pixels; 64 tokens


@functools.cache
def pipeline() -> str:
    """The directory of a pipeline that draws noise of 16 x 16 pixels."""
    from atc.diffusion import tiny

    directory = tempfile.mkdtemp()
    tiny.stable_diffusion(SIDE).save_pretrained(directory)
    return directory


def composed(here: Path, *overrides: str, given_pipeline: str | None = None) -> DictConfig:
    """What atc.run.generate is called with for a command line, in the directory `here`."""
    GlobalHydra.instance().clear()
    OmegaConf.register_new_resolver("run_dir", lambda *_: "unused", replace=True)
    name = pipeline() if given_pipeline is None else given_pipeline
    given = [f"pipeline='{name}'", f"paths.runs='{here / 'runs'}'", "classes=[0,134]", "per_class=1"]
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose("generate", [*given, "sampling.steps=2", *overrides], return_hydra_config=True)
    with open_dict(cfg):
        cfg.choices = chosen_options(cfg.hydra.runtime)
        del cfg["hydra"]
    check(cfg, "generate")
    from atc.runs.identity import identity

    cfg.output_dir = str(here / "runs" / "generate" / identity(cfg))
    return cfg
