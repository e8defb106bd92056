"""Records from a W&B project instead of the local store, and sweep files for `wandb agent`."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.config import sections, untrained
from atc.config.programs import program
from atc.core.metric import is_recorded
from atc.extras import needs
from atc.files import write_whole
from atc.grids import grid
from atc.runs import store
from atc.runs.record import Record

RESULTS = ("validation", "dense", "off_the_shelf", "fine_tuned", "checkpoint", "gflops", "images_per_second")
STATES = {"finished": "finished", "failed": "failed", "crashed": "failed"}


def records(project: str, api: Any = None) -> list[Record]:
    """What the local store would hold of the runs of a project, the earliest first.

    Args:
        project: "PROJECT" or "ENTITY/PROJECT", whose runs were made with logger=wandb.
        api: a `wandb.Api`, which has no types; None: one of its own.

    Returns:
        A record for each run.

    Raises:
        ValueError: no such project, or no access.
    """
    needs("source=wandb", "wandb", "wandb")
    import wandb

    try:
        logged = [_record(run) for run in (api or wandb.Api()).runs(project) if "datamodule" in run.config]
    except (wandb.errors.Error, ValueError) as error:
        raise ValueError(f"project={project}: {' '.join(str(error).split())}") from error
    return sorted(logged, key=lambda record: record.finished or "")


def _record(run: Any) -> Record:
    cfg = OmegaConf.create(_anywhere(dict(run.config), str(run.config.get("output_dir"))))
    assert isinstance(cfg, DictConfig)
    summary = dict(run.summary)
    results: dict[str, dict[str, float]] = {}
    for key, value in summary.items():
        name, _, metric = key.partition("/")
        if name in RESULTS and metric:
            results.setdefault(name, {})[metric] = value
    ended = summary.get("_timestamp")
    metric = dict(summary["metric"]) if hasattr(summary.get("metric"), "keys") else None  # W&B's own mapping
    parts = {
        "status": summary.get("status") or STATES.get(run.state, "interrupted"),  # killed runs say nothing
        "finished": ended and datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds"),
        "seed": cfg.get("seed"),
        "score": cfg.get("score"),
        "metric": metric if is_recorded(metric) else None,
        "results": results,
    }
    return store.with_settings(Record.read(parts), cfg).replace(wall_time_s=summary.get("_runtime"))


def _anywhere(node: Any, directory: str) -> Any:
    """Settings with what lies in the run's directory as if it had none, which is what an identity is made of."""
    if isinstance(node, Mapping):
        return {key: _anywhere(value, directory) for key, value in node.items()}
    if node == directory:
        return None
    return node.replace(f"{directory}/", "None/", 1) if isinstance(node, str) else node


def write_sweeps(name: str, sweep: Mapping[str, Any], directory: Path, sweeps: str = "sweeps") -> list[Path]:
    """Write the grids of sweeps/NAME.yaml as W&B sweep files.

    W&B knows products alone: a grid that leaves points out becomes several. Each run goes through the same command
    as without W&B, and into the local store as well.

    Args:
        name: that of the sweep file.
        sweep: what it says.
        directory: where to write.
        sweeps: where a run finds the sweep file.

    Returns:
        The files.

    Raises:
        ValueError: the table or figure has no runs of its own.
    """
    if "hydra" not in sweep:
        others = ", ".join(sweep["report"].get("of", [])) or "python -m atc.bench"
        raise ValueError(f"{name} has no grid of runs: its numbers come from {others}")
    if "generate" in sweep["defaults"]:
        raise ValueError(f"{name} is a sweep of python -m atc.diffusion.generate, which does not log to W&B")
    sweeper, own = sweep["hydra"]["sweeper"], sections.directories(Path(name), sweep)
    outside = [*sweeper.get("out_of_reach", []), *untrained.points(sweep, sweeper["grids"], own)]
    started = program("train" if "train" in sweep["defaults"] else "evaluate")
    files: list[Path] = []
    for one in (part for whole in sweeper["grids"] for part in products(whole, outside)):
        command = [*started, "--config-dir", sweeps, "-cn", name, "hydra.mode=RUN", "logger=wandb"]
        content = {
            "program": started[-1],
            "method": "grid",
            "command": ["${env}", *command, "${args_no_hyphens}"],
            "parameters": {axis: {"values": list(_several(value))} for axis, value in one.items()},
        }
        files.append(directory / f"{name}_{len(files) + 1}.yaml")
        write_whole(files[-1], OmegaConf.to_yaml(OmegaConf.create({"sweep": content}).sweep))
    return files


def products(whole: Mapping[str, Any], outside: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The reachable points of a grid as grids that are reachable throughout."""
    axes = {axis: list(_several(value)) for axis, value in whole.items()}
    hit = next((part for part in outside if any(grid.within(point, [part]) for point in grid.points([axes]))), None)
    if hit is None:
        yield axes
        return
    fixed: dict[str, Any] = {}
    for axis, value in hit.items():
        others = [one for one in axes[axis] if grid.as_typed({axis: one}) != grid.as_typed({axis: value})]
        if others:
            yield from products(axes | fixed | {axis: others}, outside)
        fixed[axis] = [value]


def _several(value: Any) -> Iterator[Any]:
    yield from value if grid.is_list(value) else [value]
