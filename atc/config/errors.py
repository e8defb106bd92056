"""From an exception to the one line a user needs."""

import re
import sys
import traceback
from collections.abc import Iterable

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from atc import faults
from atc.config import arguments, build, search_path, unreadable
from atc.config import settings as of_the_command
from atc.values import shown

# What the code raises for bad settings, files and downloads. Anything else is a bug and keeps its traceback.
USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException)
# Settings that one command has under another name than the other.
MOVED = {
    ("train", "checkpoint"): "to resume a training: resume=auto, resume=last or resume=PATH; to start from weights: "
    "backbone.checkpoint=PATH",
}
# Options of Hydra that an extra of this project brings.
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray", "optuna": "optuna"}
_OF_A_SWEEP = "a sweep file has 'override hydra/sweeper: grid' among its defaults"
# What Python says when a setting was added, +group.setting=..., that a constructor does not take.
_TYPO = re.compile(r"Error parsing override '([^'=]+)'\n? ?missing EQUAL")
_SEVERAL = re.compile(r"Ambiguous value for argument '([^'=]+)=([^']*)'")
_REFERRED = re.compile(r"Error resolving interpolation '([^']+)'")
_MISSING = re.compile(r"Missing mandatory value: (\S+)")
_MERGING = re.compile(r"Error merging override (\S+)")
_UNEXPECTED = re.compile(r"([\w.]+?)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")


class Complaint(ValueError):
    """An error whose text is the one line already, about runs that have said more of themselves."""


def one_line(error: BaseException, config_name: str, overrides: Iterable[str] = ()) -> str | None:
    """What to print for an error.

    Args:
        error: what ended the command.
        config_name: of the command.
        overrides: its command line, to name near misses of a key that does not exist.

    Returns:
        One line, or None for an error that is not the user's.
    """
    overrides = list(overrides)
    if isinstance(error, Complaint):
        return str(error)
    if fault := faults.told(error, config_name):
        return fault
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        extra = f"pip install 'atc-toolkit[{EXTRAS[name]}]' brings it; " if name in EXTRAS else ""
        return f"unknown {group} '{name}': {extra}{build.nearest(name, sorted(error.options))}"
    if isinstance(error, InstantiationException):
        return _from_target(error)
    if "Config group override must be a string" in str(error):  # Hydra's, which does not say which
        empty = [said for said in overrides if said.endswith("=null")]
        for group in (said.removesuffix("=null") for said in empty):
            if group in of_the_command.GROUPS:
                return f"{group}=null: a run needs one; {of_the_command.GROUPS[group]}"
        return f"{', '.join(empty) or error}: an option of a group is left out with a tilde, as in ~logger"
    cause = error.__cause__ or error.__context__
    if "Recursive interpolation" in str(error):
        named = [said for said in overrides if "${" in said] or [str(getattr(error, "full_key", None) or error)]
        return f"{', '.join(named)} refers to itself: give a value, or a reference to another setting"
    if isinstance(error, InterpolationResolutionError) and isinstance(cause, (ValueError, OSError)):
        return one_line(cause, config_name)  # raised inside one of our resolvers
    if isinstance(error, OmegaConfBaseException) and (found := _MISSING.search(str(error))):  # here, or referred to
        return f"{found[1]} has no default: set it on the command line, {found[1]}=..."
    if isinstance(error, HydraException):
        if _REFERRED.search(str(error)) and (said := _several_options(config_name, overrides)):
            return said
        if found := re.search(r"In '([^']+)': Could not override '([^']+)'", str(error)):
            return f"{found[1]} is not for '{config_name}', which has no '{found[2]}' to set"
        if found := _TYPO.search(str(error)):
            return f"'{found[1]}' is not of the form NAME=VALUE, without spaces: there is no = in it"
        if found := _SEVERAL.search(str(error)):
            runs = "; for one run per value, add -m" if config_name in of_the_command.COMMANDS else ""
            return f"{found[1]}={found[2]}: a list is written {found[1]}=[{found[2]}]{runs}"
        if isinstance(error, OverrideParseException):
            return unreadable.advice(error.override)
        if found := _MERGING.search(str(error)):
            return _other_form(found[1], config_name, overrides)
        if found := _REFERRED.search(str(error)):
            for group in (said[1:] for said in overrides if said[:1] == "~" and f"${{{said[1:]}}}" in found[1]):
                instead = of_the_command.GROUPS.get(group)
                return f"~{group}: " + (f"a run needs one; {instead}" if instead else "there is none without it either")
        unknown = _unknown_key(f"{error} {cause or ''}")
        return _flat(error) if unknown is None else _no_such_key(unknown, config_name, overrides)
    if isinstance(error, TypeError) and (found := _UNEXPECTED.search(str(error))):
        return f"{found[1]} has no setting '{found[2]}'"
    if isinstance(error, (TypeError, ValueError)) and (line := _mistyped(error, config_name, overrides)):
        return line
    if isinstance(error, AssertionError) and "doesn't match model" in str(error):  # timm's
        settings = "datamodule.size or datamodule.transforms.size"
        return f"{error} Images have the size the backbone is built for: leave out {settings}"
    return _whole(error) if _is_users(error) else _of_hydra(error, overrides)


def _of_hydra(error: BaseException, overrides: Iterable[str]) -> str | None:
    """What Hydra itself says of its own settings, before a run begins; None for any other error."""
    said = [override for override in overrides if override.lstrip("+~").startswith("hydra")]
    modules = {frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)}
    ours = [name for name in modules if name.startswith("atc.") and name != "atc.cli"]
    return f"{', '.join(said)}: {type(error).__name__}: {_flat(error)}" if said and not ours else None


def _is_users(error: BaseException) -> bool:
    if isinstance(error, USER_ERRORS):
        return True
    lightning = sys.modules.get("lightning.fabric.utilities.exceptions")  # if not loaded, it raised nothing
    return lightning is not None and isinstance(error, lightning.MisconfigurationException)


def _several_options(config_name: str, overrides: list[str]) -> str | None:
    """What is wrong with a list for a group, for which Hydra blames what is named after the group's option."""
    try:
        arguments.check_groups(config_name, overrides)
    except ValueError as error:
        return str(error)
    return None


def _from_target(error: InstantiationException) -> str | None:
    cause = error.__cause__
    key = re.search(r"full_key: (\S+)", str(error))
    where = f"{key[1]}: " if key else ""
    if isinstance(cause, TypeError) and (found := _UNEXPECTED.search(str(cause))):
        grids = f"; {_OF_A_SWEEP}" if found[2] == "grids" else ""
        return f"{where}{found[1]} has no setting '{found[2]}'{grids}"
    if isinstance(cause, (TypeError, ImportError)) or cause is None:
        return where + _flat(cause or error)
    return _whole(cause) if _is_users(cause) else None


def _unknown_key(message: str) -> str | None:
    for pattern in (r"Could not override '([^']+)'", r"Could not delete from config\. (?:The value of )?'([^']+)'"):
        found = re.search(pattern, message)
        if found:
            return found[1]
    return None


def _no_such_key(key: str, config_name: str, overrides: Iterable[str]) -> str:
    """Name the nearest key, from the configuration with the command line's groups but without its values."""
    if (config_name, key) in MOVED:
        return f"unknown setting '{key}' of {config_name}; {MOVED[config_name, key]}"
    if key == "hydra.sweeper.dry_run":
        return f"--dry-run lists the runs of a sweep, and this is none: {_OF_A_SWEEP}"
    cfg, groups = _composed(config_name, overrides)
    head, _, leaf = key.rpartition(".")
    if OmegaConf.is_dict(OmegaConf.select(cfg, key, throw_on_resolution_failure=False)):
        return f"{key} lacks some of these settings by default; to add them: +{key}={{name: value}}"
    node = OmegaConf.select(cfg, head, throw_on_resolution_failure=False) if head else cfg
    if not OmegaConf.is_dict(node):
        return f"unknown setting '{key}': there is no '{head}' to have settings"
    known = [str(name) for name in node if not str(name).startswith("_")]
    if leaf in known:  # in this configuration, but not in each of the runs of a sweep
        return f"not every {head} of these runs has a setting '{leaf}': name those that have it, {head}=..."
    if head:
        return f"'{head}' has no setting '{leaf}': {build.nearest(leaf, known)}; to add one all the same: +{key}=..."
    of_the_run = {"hydra", "choices", "output_dir"}  # not for the command line
    return f"unknown setting '{key}': {build.nearest(key, sorted({*known, *groups} - of_the_run))}"


def _other_form(said: str, config_name: str, overrides: Iterable[str]) -> str:
    """A list where there are settings by default, or the other way."""
    key = said.partition("=")[0].lstrip("+")
    default = OmegaConf.select(_composed(config_name, overrides)[0], key, throw_on_resolution_failure=False)
    if OmegaConf.is_list(default):
        return f"{said} must be a list, such as {shown(OmegaConf.to_container(default))}"
    return f"{said} must be settings as in {{name: value}}" if OmegaConf.is_dict(default) else f"{said} does not fit"


def _mistyped(error: BaseException, config_name: str, overrides: Iterable[str]) -> str | None:
    """Text where there is a number by default, if that can be what the error is about."""

    def of_text(error: BaseException, value: str) -> bool:
        said = str(error)
        return repr(value) in said or (isinstance(error, TypeError) and ("str" in said or "sequence" in said))

    said = (override.partition("=") for override in overrides)
    texts = {key: value for key, _, value in said if not _is_number(value) and of_text(error, value)}
    cfg, _ = _composed(config_name, overrides) if texts else (None, [])
    for key, value in texts.items():
        default = None if cfg is None else OmegaConf.select(cfg, key, throw_on_resolution_failure=False)
        if isinstance(default, (int, float)) and not isinstance(default, bool):
            return f"{key}={value} must be a number, such as {default}"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _composed(config_name: str, overrides: Iterable[str]) -> tuple[DictConfig, list[str]]:
    """The configuration with the command line's groups but without its values; the groups it is made of."""
    directory = build.conf_dir()
    defaults = OmegaConf.select(OmegaConf.load(directory / f"{config_name}.yaml"), "defaults", default=[])
    own = {str(group) for one in defaults if OmegaConf.is_dict(one) for group in one}
    groups = [said for said in overrides if said.split("=")[0] in own]
    named = [said for said in groups if said.split("=")[-1] not in ("", "null") and "," not in said]
    GlobalHydra.instance().clear()  # the run that failed has initialised it
    with initialize_config_dir(str(directory), version_base="1.3"):
        cfg = compose(config_name, [*_search_path(overrides), *named], return_hydra_config=True)
    groups = [group for group in cfg.hydra.runtime.choices if "@" not in group and "/" not in group]
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, groups


def _search_path(arguments: Iterable[str]) -> list[str]:
    arguments = list(arguments)
    try:
        return [said for said in arguments if said.startswith("hydra.searchpath=")] or search_path.override(arguments)
    except ValueError:  # no such directory, which is another error
        return []


def _whole(error: BaseException) -> str:
    """Our own messages are meant to be read as they are; OmegaConf's have small print."""
    return _flat(error) if isinstance(error, OmegaConfBaseException) else faults.first_words(error)


def _flat(error: BaseException) -> str:
    """A message on one line, without Hydra's and OmegaConf's small print."""
    small_print = re.compile(r"(full_key|object_type|reference_type|key):|See http")
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return " ".join(line for line in lines if line and not small_print.match(line)) or type(error).__name__
