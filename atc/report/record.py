"""results.json: everything needed to know what a run was and what came out, written as it becomes known."""

import functools
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

FILE = "results.json"
PACKAGES = ("torch", "torchvision", "timm", "lightning", "torchmetrics", "hydra-core", "numpy", "scipy")


class Record:
    """One run's results.json; every `update` rewrites the file, so that an interruption loses nothing.

    path: the file; resume: continue the record that is there instead of replacing it.
    """

    def __init__(self, path: Path, *, resume: bool = False):
        self.path = path
        self.data: dict[str, Any] = json.loads(path.read_text()) if resume and path.is_file() else {}

    def start(self, **settings: Any) -> None:
        """Note when, with what command, code, versions and machine this run started; and its settings."""
        self.update(
            status="running",
            started=self.data.get("started", _now()),
            finished=None,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            commit=git_commit(),
            versions=versions(),
            machine=machine(),
            **settings,
        )

    def update(self, **entries: Any) -> None:
        """Set entries; a mapping is merged into what is there."""
        for key, value in entries.items():
            if isinstance(value, Mapping) and isinstance(self.data.get(key), dict):
                self.data[key] |= value
            else:
                self.data[key] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(json.dumps(self.data, indent=2) + "\n")
        partial.replace(self.path)  # atomic: never half a record

    def finish(self, status: str = "finished") -> None:
        """Note how the run ended: "finished", "interrupted" or "failed"."""
        self.update(status=status, finished=_now())


@functools.cache  # the code of a process is that of its start, wherever the checkout goes during a sweep
def git_commit() -> str | None:
    """Commit of the checkout this code runs from, "-dirty" if files differ; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Versions of Python, this package and what its numbers depend on."""
    found = {"python": platform.python_version()}
    for package in ("atc-toolkit", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run has to compute with."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    system = f"{platform.system()} {platform.machine()}"
    return {"system": system, "threads": torch.get_num_threads(), "gpus": gpus}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
