"""Processes for the other devices of a run, which Lightning starts with the command line of the first."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch.distributed as dist
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict, read_write

# What Lightning leaves to the processes that it starts.
_LEFT = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
# What makes several runs of one command, and where they lie.
_OF_MULTIRUNS = ("hydra.mode", "hydra.sweep", "hydra.sweeper", "hydra/sweeper", "hydra.launcher", "hydra/launcher")


@contextmanager
def of_this_run(directory: Path) -> Iterator[None]:
    """Have processes that are started in the block do this run of a multirun, not all of them in turn.

    What connects them ends with the block: the next run starts processes of its own.

    Args:
        directory: that of the run, which they share.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        yield
        return
    left = {name: os.environ.get(name) for name in _LEFT}
    connected = dist.is_available() and dist.is_initialized()
    before, config = sys.argv, cast(Any, HydraConfig.instance().cfg)  # a DictConfig of the class that Hydra names
    assert config is not None
    run = config.hydra.run  # what Hydra keeps is locked, each part by itself
    kept: Any = OmegaConf.to_container(run)
    where = kept["dir"]  # as it stands: what it refers to may not hold for a multirun
    try:
        sys.argv = [before[0], *_command_line()]
        with read_write(config), read_write(config.hydra), open_dict(config.hydra):
            run.dir = str(directory)
        yield
    finally:
        sys.argv = before
        with read_write(config), read_write(config.hydra), open_dict(config.hydra):
            run.dir = where
        for name, value in left.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if dist.is_available() and dist.is_initialized() and not connected:
            dist.destroy_process_group()


def _command_line() -> list[str]:
    """The arguments that make this one run."""
    hydra = HydraConfig.get()
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    kept = [item for item in hydra.overrides.hydra if not item.lstrip("+~").startswith(_OF_MULTIRUNS)]
    return [
        *(f"--config-dir={folder}" for folder in folders),
        f"--config-name={hydra.job.config_name}",
        *hydra.overrides.task,
        *kept,
        "hydra.mode=RUN",
    ]
