"""From an exception to the one line a user needs."""

import re
from collections.abc import Iterable

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from atc import build

# What the code raises for bad settings, files and downloads. Anything else is a bug and keeps its traceback.
USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException)
# Settings that one command has under another name than the other.
MOVED = {
    ("train", "checkpoint"): "to resume a training: resume=auto, resume=last or resume=PATH; to start from weights: "
    "backbone.checkpoint=PATH",
}
# What Python says when a setting was added, +group.setting=..., that a constructor does not take.
_UNEXPECTED = re.compile(r"([\w.]+?)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")


def one_line(error: BaseException, config_name: str, overrides: Iterable[str] = ()) -> str | None:
    """The complaint to print, or None for an error that is not the user's.

    overrides: the command line, to name near misses of a key that does not exist.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"unknown {group} '{name}': {build.nearest(name, sorted(error.options))}"
    if isinstance(error, InstantiationException):
        return _from_target(error)
    cause = error.__cause__ or error.__context__
    if isinstance(error, InterpolationResolutionError) and isinstance(cause, (ValueError, OSError)):
        return one_line(cause, config_name)  # raised inside one of our resolvers
    if isinstance(error, MissingMandatoryValue):
        found = re.search(r"Missing mandatory value: (\S+)", str(error))
        key = found[1] if found else getattr(error, "full_key", "?")
        return f"{key} has no default: set it on the command line, {key}=..."
    if isinstance(error, HydraException):
        if found := re.search(r"In '([^']+)': Could not override '([^']+)'", str(error)):
            return f"{found[1]} is not for '{config_name}', which has no '{found[2]}' to set"
        key = _unknown_key(f"{error} {cause or ''}", overrides)
        return _flat(error) if key is None else _no_such_key(key, config_name, overrides)
    if isinstance(error, TypeError) and (found := _UNEXPECTED.search(str(error))):
        return f"{found[1]} has no setting '{found[2]}'"
    return _whole(error) if _is_users(error) else None


def _is_users(error: BaseException) -> bool:
    from lightning.fabric.utilities.exceptions import MisconfigurationException  # slow to import, rarely needed

    return isinstance(error, (*USER_ERRORS, MisconfigurationException))


def _from_target(error: InstantiationException) -> str | None:
    cause = error.__cause__
    key = re.search(r"full_key: (\S+)", str(error))
    where = f"{key[1]}: " if key else ""
    if isinstance(cause, (TypeError, ImportError)) or cause is None:
        return where + _flat(cause or error)
    return _whole(cause) if _is_users(cause) else None


def _unknown_key(message: str, overrides: Iterable[str]) -> str | None:
    for pattern in (r"Could not override '([^']+)'", r"Could not delete from config\. (?:The value of )?'([^']+)'"):
        found = re.search(pattern, message)
        if found:
            return found[1]
    return None


def _no_such_key(key: str, config_name: str, overrides: Iterable[str]) -> str:
    """Name the nearest key, from the configuration with the command line's groups but without its values."""
    if (config_name, key) in MOVED:
        return f"unknown setting '{key}' of {config_name}; {MOVED[config_name, key]}"
    groups = [path.name for path in build.conf_dir().iterdir() if path.is_dir()]
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose(config_name, [said for said in overrides if said.split("=")[0] in groups])
    head, _, leaf = key.rpartition(".")
    node = OmegaConf.select(cfg, head, throw_on_resolution_failure=False) if head else cfg
    if not OmegaConf.is_dict(node):
        return f"unknown setting '{key}': there is no '{head}' to have settings"
    known = [str(name) for name in node if not str(name).startswith("_")]
    if head:
        return f"'{head}' has no setting '{leaf}': {build.nearest(leaf, known)}; to add one all the same: +{key}=..."
    return f"unknown setting '{key}': {build.nearest(key, sorted({*known, *groups} - {'hydra'}))}"


def _whole(error: BaseException) -> str:
    """Our own messages are meant to be read as they are; OmegaConf's have small print."""
    return _flat(error) if isinstance(error, OmegaConfBaseException) else str(error) or type(error).__name__


def _flat(error: BaseException) -> str:
    """A message on one line, without Hydra's and OmegaConf's small print."""
    small_print = re.compile(r"(full_key|object_type|reference_type|key):|See http")
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return " ".join(line for line in lines if line and not small_print.match(line)) or type(error).__name__
