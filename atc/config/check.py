"""Every value of a configuration, checked against what takes it; nothing is imported or built for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from atc.config import build, generation, others, prediction, settings, together
from atc.config.signatures import Signature, signature
from atc.values import check as check_value
from atc.values import kinds, shown

_FLAGS: dict[str, Any] = {
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
}
# Not for the targets: Hydra's own settings, what is read by reports, and what is set when a run starts.
_ELSEWHERE = ("hydra", "report", "sweep", "choices", "output_dir", "checkpoint", "resume", "weights", "score")


def check(cfg: DictConfig, command: str, *, partly: bool = False) -> None:
    """Refuse what a configuration cannot be run with, and put whole numbers where 4.0 is one.

    Args:
        cfg: composed; a value is replaced where it is of another type than its setting, as 4.0 is. With `hydra` in it
            or without.
        command: "train", "evaluate", "generate" or "predict".
        partly: whether groups come from elsewhere, as with the run of a checkpoint: only the top level is looked at.

    Raises:
        ValueError: one line, that names the setting.
        OmegaConfBaseException: a value that is missing, or a reference to nothing.
    """
    with _with_directory(cfg):
        _check_groups(cfg, command)
        _check_top(cfg, command)
        if not partly:
            known = {name.partition(".")[0] for name in settings.annotations(command)}
            for group in cfg:
                if group == "callbacks":
                    _check_callbacks(cfg.callbacks)
                if group not in known and group not in _ELSEWHERE:
                    _check_node(cfg, str(group), str(group))
            if command == "generate":
                generation.check(cfg)
            elif command == "predict":
                prediction.check(cfg)
            else:
                together.check(cfg, command)


@contextmanager
def _with_directory(cfg: DictConfig) -> Iterator[None]:
    """Somewhere to write to, which a run has and a configuration that is only looked at has not."""
    given = cfg.get("output_dir")
    if given is not None:
        yield
        return
    with open_dict(cfg):
        cfg.output_dir = "."
    try:
        yield
    finally:
        cfg.output_dir = None


def _check_top(cfg: DictConfig, command: str) -> None:
    for name, annotation in settings.annotations(command).items():
        parent, _, key = name.rpartition(".")
        node = cfg.get(parent) if parent else cfg
        if not isinstance(node, DictConfig):
            raise ValueError(f"{parent}={shown(_plain(node))} must be settings, with {key} among them")
        if key not in node:
            raise ValueError(f"~{name}: the setting has to be there; a value for it is set as in {name}=VALUE")
        _check_in(node, key, name, annotation)


def _check_groups(cfg: DictConfig, command: str) -> None:
    """ValueError for a configuration without one of the parts that every run has."""
    for group, instead in settings.groups(command).items():
        if not isinstance(cfg.get(group), DictConfig):
            said = shown(_plain(cfg.get(group)))
            raise ValueError(f"{group}={said}: a run needs one; {instead}")
        if group not in ("callbacks", "paths") and "_target_" not in cfg[group]:
            raise ValueError(f"{group} has no _target_, which says what to build: {instead}")


def _check_callbacks(callbacks: DictConfig) -> None:
    for key, node in ((str(key), node) for key, node in callbacks.items()):
        if node is not None and not (isinstance(node, DictConfig) and "_target_" in node):
            raise ValueError(f"callbacks.{key}={shown(_plain(node))} must be settings with a _target_, or null")


def _check_node(parent: DictConfig | ListConfig, key: Any, name: str) -> None:
    """A value that nothing says more of: settings with a target and what is below, or finite numbers."""
    node = parent[key]
    if not isinstance(node, (DictConfig, ListConfig)):
        _check_in(parent, key, name, Any)
        return
    if isinstance(node, DictConfig) and "_target_" in node:
        _check_target(node, name)
        return
    for inner in list(node) if isinstance(node, DictConfig) else range(len(node)):
        _check_node(node, inner, f"{name}.{inner}")


def _check_target(node: DictConfig, name: str) -> None:
    """The settings of what is to be built."""
    target = node["_target_"]
    if not isinstance(target, str):
        raise ValueError(f"{name}._target_={shown(_plain(target))} must be the dotted name of a class or a function")
    taken = signature(target)
    for key in list(node):
        full = f"{name}.{key}"
        if key in _FLAGS:
            _check_in(node, key, full, _FLAGS[key])
        elif taken is not None and key in taken.parameters:
            _check_in(node, key, full, taken.type(str(key)))
            _check_passed_on(target, node[key], str(key), full)
        elif str(key) not in ("_target_", "_args_"):
            if taken is not None and not taken.open:
                raise ValueError(_unknown(str(key), name, taken))
            _check_node(node, key, full)


def _check_passed_on(target: str, held: Any, key: str, name: str) -> None:
    """Of a setting that holds arguments for another function, each argument."""
    callee, own = others.PASSED_ON.get(target, {}).get(key, (None, ()))
    if not isinstance(held, DictConfig):
        return
    taken = signature(callee) if callee else None
    for argument in list(held):
        if argument in own:
            instead = f"{name.rpartition('.')[0]}.{argument}"
            raise ValueError(f"{name}.{argument} is not for here: the run sets it, from {instead} where there is one")
        if taken is not None:
            if argument not in taken.parameters:
                raise ValueError(_unknown(str(argument), name, taken))
            _check_in(held, argument, f"{name}.{argument}", taken.type(str(argument)))


def _unknown(key: str, name: str, taken: Signature) -> str:
    known = sorted(map(str, taken.parameters))
    return f"{name}: {taken.name} has no setting '{key}'" + (f": {build.nearest(key, known)}" if known else "")


def _check_in(parent: DictConfig | ListConfig, key: Any, name: str, annotation: Any) -> None:
    """A value against what it may be; what fits but is of another type is replaced."""
    value = parent[key]  # raises where a value is missing or refers to nothing
    plain = _plain(value)
    if isinstance(value, DictConfig) and "_target_" in value:
        _check_target(value, name)
    try:
        found = check_value(name, plain, annotation)
    except ValueError as error:
        several = isinstance(plain, list) and not any(
            kinds.is_list(kinds.parts(one)[0]) for one in kinds.members(annotation)
        )
        hint = f"; for one run each: -m {name}={','.join(map(shown, plain))}" if several and plain else ""
        raise ValueError(f"{error}{hint}") from None
    if not isinstance(found, Mapping) and (type(found) is not type(plain) or found != plain or _retyped(found, plain)):
        with open_dict(parent):
            parent[key] = found


def _retyped(found: Any, plain: Any) -> bool:
    return isinstance(found, list) and any(type(a) is not type(b) for a, b in zip(found, plain, strict=True))


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, (DictConfig, ListConfig)) else value
