"""What this machine cannot do, refused before it hangs."""

import os
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from atc.files import unwritable

_PROCESSES = 8  # on CPUs, whatever the number of cores: several on one core are slow, for a trial they will do
# Set by what starts the processes of other nodes: SLURM, torchrun, LSF, MPI; or by hand.
_LAUNCHED = ("SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def check(cfg: DictConfig) -> None:
    """ValueError for a file where runs are to lie, too many processes, or nodes that no launcher starts.

    Args:
        cfg: composed, with values that are checked.
    """
    for name in ("runs", "store"):
        if "${" in str(cfg.paths[name]):
            raise ValueError(f"paths.{name}={cfg.paths[name]}: ${{ begins a reference to a setting; give another name")
        if Path(cfg.paths[name]).is_file():
            raise ValueError(f"paths.{name}={cfg.paths[name]} is a file, and must be a directory")
    if reason := unwritable(Path(cfg.paths.store, "RECORD.json")):
        raise ValueError(f"paths.store={cfg.paths.store} {reason}; it keeps a record of every run")
    if "trainer" not in cfg:
        return
    accelerator = cfg.trainer.get("accelerator", "auto")
    devices, nodes = cfg.trainer.get("devices"), cfg.trainer.get("num_nodes", 1)
    if (isinstance(devices, ListConfig) or str(devices) == "-1" or "," in str(devices)) and _on_cpu(accelerator):
        raise ValueError(f"trainer.devices={devices}: on a CPU, a number of processes, as in trainer.devices=1")
    if str(devices).isdecimal():
        most = max(_PROCESSES, _cores())
        if int(devices) > most and _on_cpu(accelerator):
            raise ValueError(
                f"trainer.devices={devices}: on a CPU a device is a process; with {_cores()} cores at most {most}"
            )
    several = (str(devices).isdecimal() and int(devices) > 1) or (isinstance(nodes, int) and nodes > 1)
    if cfg.trainer.get("sync_batchnorm") and several and _on_cpu(accelerator):
        raise ValueError(
            f"trainer.sync_batchnorm=true with trainer.devices={devices}: PyTorch synchronises batch norms on GPUs "
            "only: trainer.sync_batchnorm=false"
        )
    if isinstance(nodes, int) and nodes > 1 and not any(name in os.environ for name in _LAUNCHED):
        raise ValueError(
            f"trainer.num_nodes={nodes} waits for processes on other machines, and nothing starts them: submit the "
            f"command with SLURM (srun) or torchrun, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on every node"
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_cpu(accelerator: str) -> bool:
    if accelerator != "auto":
        return accelerator == "cpu"
    import torch

    return not (torch.cuda.is_available() or torch.backends.mps.is_available())
