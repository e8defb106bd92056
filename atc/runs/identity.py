"""The identity of a run: a hash of the settings that determine its result."""

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from atc import constants, moved
from atc.runs.settings import plain_settings

# Raised when a change of the code changes results, so that runs of before no longer count as done. The commit and
# the versions of libraries are recorded beside the identity, not in it: most changes leave results as they are.
RESULTS = 1
# Where things are, what is shown, how long it is measured, where a training that was cut off goes on; and settings that
# others are made of by interpolation.
WITHOUT_EFFECT = (
    *("output_dir", "choices", "paths", "logger", "debug", "report", "sweep", "benchmark", "baselines", "hydra"),
    *("resume", "activation_checkpointing", "keep_rate", "threshold", "blocks", "t", "as_released", "weights"),
    *("images", "shard", "device"),
    *("callbacks.progress", "callbacks.gallery", "callbacks.stop_safely.minutes"),
    *("datamodule.num_workers", "datamodule.eval_batch_size"),
    *("trainer.accelerator", "trainer.default_root_dir", "trainer.log_every_n_steps"),
    *("trainer.enable_model_summary", "trainer.enable_progress_bar", "trainer.profiler"),
)
# Weights, and the sentences that stand for weights of a classifier: they count with what is in them, wherever they are.
WEIGHTS = ("backbone.checkpoint", "teacher.checkpoint", "task.checkpoint", "checkpoint", "task.prompts", "fid.weights")
# Settings of a reducer that it got after runs of it were kept, and what it did before: at these values they leave
# identities as they are.
LATER = {
    "reducers.agglomerative.Agglomerative": {
        "feature": "keys",
        "distance": "cosine",
        "one_shot": False,
        "size_bias": 1.0,
    }
}
ROOT = "datamodule.root"  # of a data set, which lies in different places on different machines


def identity(cfg: DictConfig) -> str:
    """What two runs share if and only if they must have the same result, seed included.

    Args:
        cfg: a configuration of atc.run, with or without output_dir.

    Returns:
        12 hexadecimal digits.
    """
    return of_settings(settings(cfg))


def of_settings(determining: dict[str, Any]) -> str:
    """The identity of `settings(cfg)`, which is also what a record holds as its `config`."""
    text = json.dumps([RESULTS, _without_later(determining)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def settings(cfg: DictConfig) -> dict[str, Any]:
    """What determines the result: resolved, without paths.

    Weights count by the SHA-256 of their file, pictures of one's own by that of their names and sizes.

    What is null is left out, so that a new setting that is off by default leaves identities as they are.

    Args:
        cfg: a configuration of atc.run, with or without output_dir.

    Returns:
        Plain containers.
    """
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.pop("hydra", None)
        cfg.output_dir = None  # callbacks write there
    determining = plain_settings(cfg, resolve=True)
    for key in WITHOUT_EFFECT:
        _set(determining, key, None, drop=True)
    for key in WEIGHTS:
        file = _get(determining, key)
        if file is not None:
            _set(determining, key, _of_weights(str(file)))
    if "pipeline" in determining:
        _of_generation(determining)
    root = _get(determining, ROOT)
    if root is not None:
        released = constants.sets_true(str(_get(determining, "datamodule._target_")), "same_everywhere")
        _set(determining, ROOT, Path(root).name if released else _of_folder(Path(root).expanduser()))
    named: dict[str, Any] = moved.targets(determining, moved.first_name)
    return _without_nulls(named)


def of_images(determining: dict[str, Any]) -> dict[str, Any]:
    """What of `settings(cfg)` decides how each generated image looks, whichever images a run is of."""
    others = ("fid", "classes", "per_class", "prompt", "seed", "threads")
    found = {key: value for key, value in determining.items() if key not in others}
    sampling = {key: value for key, value in found.get("sampling", {}).items() if key != "precision"}
    return found | {"sampling": sampling}  # images say themselves which precision null came to


def image_set(determining: dict[str, Any]) -> str:
    """What runs share that generate the same images, by whatever they are scored: 12 hexadecimal digits."""
    return of_settings({key: value for key, value in determining.items() if key != "fid"})


def _of_generation(determining: dict[str, Any]) -> None:
    """Pipelines and lists of classes count by what is in them; without reduction, nothing counts of how it is done."""
    pipeline, listed, reference = (_get(determining, key) for key in ("pipeline", "classes", "fid.reference"))
    if Path(str(pipeline)).expanduser().is_dir():
        determining["pipeline"] = _of_contents(Path(str(pipeline)).expanduser())
    if isinstance(listed, str) and Path(listed).expanduser().is_file():
        determining["classes"] = _of_weights(listed)
    if reference is None:
        determining.pop("fid", None)
    else:
        path = Path(str(reference)).expanduser()
        determining["fid"]["reference"] = _of_weights(str(path)) if path.is_file() else _of_folder(path)
    if str(_get(determining, "reducer._target_")).endswith(".NoReduction"):
        determining.pop("merging", None)


def _of_contents(root: Path) -> str:
    """The files of a folder, by name and SHA-256."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name, state = path.relative_to(root), path.stat()
        if not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()} {_digest(path.resolve(), state.st_mtime_ns, state.st_size)}\n".encode())
    return f"files: {digest.hexdigest()}"


def _of_weights(file: str) -> str:
    from atc.runs import directories

    try:
        path = directories.checkpoint_file(file)
    except FileNotFoundError:
        return f"missing: {Path(file).name}"  # a sweep can be looked at without its files
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _of_folder(root: Path) -> str:
    if not root.is_dir():
        return f"missing: {root.name}"
    return _listing(root.resolve(), root.stat().st_mtime_ns)


@functools.lru_cache  # a sweep asks for each of its runs
def _listing(root: Path, changed: int) -> str:
    """The names and sizes of all files; not what is in them, which for many pictures would take minutes."""
    digest = hashlib.sha256()
    listed = {(state.st_dev, state.st_ino) for state in map(os.stat, root.parents)}
    for folder, inner, files in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in listed:  # links may lead to it again and again
            inner.clear()
            continue
        listed.add((state.st_dev, state.st_ino))
        inner.sort()
        for file in sorted(files):
            path = Path(folder, file)
            if not file.startswith(".") and path.exists():
                line = f"{path.relative_to(root).as_posix()} {path.stat().st_size}\n"
                digest.update(line.encode(errors="surrogateescape"))  # a name need not be UTF-8
    return f"files: {digest.hexdigest()}"


def _without_later(determining: dict[str, Any]) -> dict[str, Any]:
    reducer = determining.get("reducer")
    later = LATER.get(str(_get(reducer, "_target_")), {})
    if not isinstance(reducer, dict) or not later:
        return determining
    kept = {key: value for key, value in reducer.items() if key not in later or value != later[key]}
    return determining | {"reducer": kept}


def _without_nulls(node: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in node.items()
        if value is not None
    }


def _get(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _set(node: Any, key: str, value: Any, drop: bool = False) -> None:
    *parents, leaf = key.split(".")
    for part in parents:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict) and leaf in node:
        if drop:
            del node[leaf]
        else:
            node[leaf] = value
