"""What sweep files and files of published numbers hold, read and checked."""

import csv
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from atc import methods
from atc.config import untrained

IMAGE = re.compile(r"\d+_\d+\.png")  # as python -m atc.diffusion.generate names images
Check = Callable[[Any], bool]


def load(file: Path) -> DictConfig:
    """A sweep file as it is.

    Raises:
        ValueError: it is no YAML, or no mapping; the message names it.
    """
    try:
        found = OmegaConf.load(file)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is no sweep file: {_flat(error)}") from error
    except OSError as error:
        if error.filename is None:  # OmegaConf's, for a file that holds one value
            raise ValueError(f"{file} is no sweep file: {_flat(error)}") from error
        raise
    if not isinstance(found, DictConfig):
        raise ValueError(f"{file} is no sweep file: it holds a list, and has to hold settings, as in digits_all.yaml")
    return found


def report_section(file: Path, sweep: DictConfig) -> dict[str, Any]:
    """The `report` section of a sweep file, as arguments of a layout; lists as tuples.

    Raises:
        ValueError: there is none, or a part of it is not what it should be; the message names file and part.
    """
    if not isinstance(sweep.get("report"), DictConfig):
        raise ValueError(f"{file} has no section report, which says what its table or figure shows")
    try:
        section = OmegaConf.to_container(sweep.report, resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{file}: report: {_flat(error)}") from error
    assert isinstance(section, dict)
    section.setdefault("of", [file.stem])
    section.setdefault("published", [])
    section.setdefault("published_names", {})
    unknown = [key for key in section if key not in _PARTS]
    if unknown or section.get("kind") not in KINDS:
        said = [str(key) for key in unknown]
        raise ValueError(f"{file}: kind={section.get('kind')} of {', '.join(KINDS)}; unknown: {sorted(said)}")
    for key in ("title", "settings", "rows", "columns"):
        if key not in section:
            raise ValueError(f"{file}: report.{key} is missing: it must be {_PARTS[key][1]}")
    checked = {str(key): value for key, value in section.items()}
    for key, value in checked.items():
        if key in _LISTS and isinstance(value, str):
            value = checked[key] = [value]
        fits, right = _PARTS[key]
        if not fits(value):
            raise ValueError(f"{file}: report.{key}={value} must be {right}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in checked.items()}


def sweeper_section(file: Path, sweep: DictConfig) -> dict[str, Any]:
    """The grids of a sweep, and the points out of reach; what a benchmark measures is one grid.

    Of a sweep off the shelf, methods that need training are out of reach.

    Raises:
        ValueError: there are none, or they are no grids; the message names the file.
    """
    node: Any = OmegaConf.create({"grids": [sweep.bench]}) if "bench" in sweep else None
    try:
        node = OmegaConf.select(sweep, "hydra.sweeper") if node is None else node
        found = {key: _plain(node, key) for key in ("grids", "out_of_reach")} if isinstance(node, DictConfig) else {}
        if found.get("grids") is None:
            raise ValueError("it has no runs: hydra.sweeper.grids is missing")
        found["out_of_reach"] = found["out_of_reach"] or []
        check_grids(**found)
        if "bench" not in sweep:
            found["out_of_reach"] += untrained.points(sweep, found["grids"], directories(file, sweep))
    except (OmegaConfBaseException, ValueError) as error:
        raise ValueError(f"{file}: {_flat(error)}") from error
    return found


def directories(file: Path, sweep: Mapping[str, Any]) -> tuple[Path, ...]:
    """Directories of one's own in which a sweep finds files of groups, as far as they are here: its own first.

    Args:
        file: the sweep file, whose directory --config-dir names.
        sweep: what it holds.
    """
    listed = (sweep.get("hydra") or {}).get("searchpath") or []
    named = [Path(one.removeprefix("file://")) for one in listed if isinstance(one, str) and "pkg://" not in one]
    groups = [path.name for path in methods.conf_dir().iterdir() if path.is_dir()]
    return tuple(
        place.resolve() for place in (file.parent, *named) if any((place / group).is_dir() for group in groups)
    )


def _plain(node: DictConfig, key: str) -> Any:
    value = node.get(key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def check_grids(grids: Any, out_of_reach: Any) -> None:
    """ValueError unless grids are a list of mappings from settings to values, and out_of_reach one as well."""
    for name, value in (("grids", grids), ("out_of_reach", out_of_reach)):
        if not isinstance(value, list | tuple) or not all(isinstance(one, dict) for one in value):
            raise ValueError(f"{name}={value} must be a list of mappings from settings to values: [{{reducer: tome}}]")
        for axis, one in (pair for part in value for pair in part.items()):
            several = one if isinstance(one, list) else [one]
            if not isinstance(axis, str) or not several or any(isinstance(inner, dict) for inner in several):
                raise ValueError(f"{name}: {axis}={one} must be a setting with its value, or a list of values")
            for text in (inner for inner in several if isinstance(inner, str)):
                _check_value(name, axis, text)
    if not grids:
        raise ValueError("grids=[] has no runs")


def _check_value(name: str, axis: str, text: str) -> None:
    """ValueError for several values as the command line has them, range(0.1,0.9,0.2) or topk,tome."""
    if "(" not in text and "," not in text:
        return
    try:
        (item,) = OverridesParser.create().parse_overrides([f"{axis}={text}"])
    except HydraException:
        return  # composing says what is wrong with it
    if item.is_sweep_override():
        held = "VALUE, VALUE" if "(" in text else ", ".join(item.sweep_string_iterator())
        raise ValueError(
            f"{name}: {axis}={text} is of the command line; the axis of a grid is a list, {axis}: [{held}]"
        )


def read_published(file: Path) -> list[dict[str, str]]:
    """The rows of a file of published numbers: what was measured, `metric`, `value` and `source`.

    Raises:
        ValueError: a row lacks one of them, or its value is no number; the message names the file.
    """
    with file.open(encoding="utf-8-sig", newline="") as lines:
        try:
            rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(lines)]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is no file of published numbers: {error}") from error
    for number, row in enumerate(rows, start=2):
        lacking = [key for key in ("metric", "value", "source") if not isinstance(row.get(key), str)]
        if lacking or None in row:
            said = f"has no {lacking[0]}" if lacking else "has more values than the first line names"
            raise ValueError(f"{file}, line {number}, {said}")
        if not _is_finite(row["value"]):
            raise ValueError(f"{file}, line {number}: value={row['value']} must be a number")
    return rows


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flat(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(("full_key:", "object_type=")))[:300] or (
        type(error).__name__
    )


# Of what python -m atc.study has computed.
STUDY = ("similarity", "matrices", "proxies", "depth_maps", "fixed_patterns")
KINDS = ("table", "curves", "ranks", "differences", "throughput", *STUDY, "pictures")
STUDY_AXES = ("keep_rate", "capacity", "method", "data_set")
SETTINGS = ("off_the_shelf", "fine_tuned")
COSTS = ("gflops", "images_per_second", "latency")
_LISTS = ("of", "settings", "rows", "columns", "against", "notes", "published", "cost")
_AXES = (_are_texts, "a list of axes, such as [reducer]")
_PARTS: dict[str, tuple[Check, str]] = {
    "title": (_is_text, "text"),
    "kind": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "of": (lambda value: _are_texts(value) and bool(value), "a list of names of sweep files"),
    "settings": (
        lambda value: _are_texts(value) and all(one in SETTINGS for one in value),
        f"a list of {' and '.join(SETTINGS)}",
    ),
    "only": (
        lambda value: isinstance(value, dict) and all(isinstance(one, list) and one for one in value.values()),
        "a mapping from axes to lists of values, such as {reducer: [none, tome]}",
    ),
    "rows": _AXES,
    "columns": _AXES,
    "x": (_is_text, "the name of an axis"),
    "against": (_are_texts, "a list of methods"),
    "floor": (lambda value: value is None or _is_text(value), "a method"),
    "images": (lambda value: value is None or (_is_count(value) and value > 0), "a whole number, 1 or more"),
    "image": (
        lambda value: value is None or (_is_text(value) and bool(IMAGE.fullmatch(value))),
        "the name of a generated image, CLASS_NUMBER.png, as in 134_0.png",
    ),
    "metric": (lambda value: isinstance(value, str | dict | list | tuple), "a metric, or a list of them"),
    "decimals": (lambda value: _is_count(value) and 0 <= value <= 9, "a whole number from 0 to 9"),
    "best": (lambda value: isinstance(value, bool), "true or false"),
    "cost": (
        lambda value: _are_texts(value) and all(one in COSTS for one in value),
        f"a list of {', '.join(COSTS)}",
    ),
    "names": (
        lambda value: value == "paper" or (isinstance(value, dict) and _are_texts([*value, *value.values()])),
        "paper, or a mapping from values to names, such as {tome: ToMe}",
    ),
    "notes": (_are_texts, "a list of texts"),
    "published": (
        lambda value: _are_texts(value) and all(Path(one).name == one for one in value),
        "names of files in published/",
    ),
    "published_names": (
        lambda value: isinstance(value, dict) and _are_texts([*value, *value.values()]),
        "a mapping from values as the published files have them to ours, such as {vit_adapter_tiny: deit_tiny}",
    ),
}
