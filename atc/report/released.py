"""The settings that a checkpoint released by the authors brings, as overrides of a command line."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict

from atc import build
from atc.vit import released

log = logging.getLogger(__name__)

# Where their names are not ours.
REDUCERS = {"dpcknn": "dpc_knn", "deit": "none"}
DATA = {"nuswide": "nus_wide"}
# The authors' methods that have no reducer here (arXiv 2308.04657).
ELSEWHERE = {
    "ats": "ATS",
    "dyvit": "DynamicViT",
    "heuristic": "a fixed radial pattern",
    "patchmerger": "PatchMerger",
    "sinkhorn": "Sinkhorn",
    "sit": "SiT",
}
METHOD = {"equal_weight": "equal_weight", "k_neighbors": "k", "cluster_iters": "iterations"}


def overrides(args: Mapping[str, Any]) -> list[str]:
    """The command line that describes a model of the authors' training scripts, from the settings in its checkpoint.

    args: model (METHOD_SIZE_patch16_224), dataset, input_size, reduction_loc (0-based blocks), reduction_ratio (one
    keep rate, or token counts), linkage and proportional_attn (ATC), the settings of METHOD.
    The method computes as released, for that is how the weights were trained.
    ValueError for a model that cannot be rebuilt.
    """
    method, _, rest = str(args["model"]).partition("_")
    size = rest.split("_")[0]
    backbone, reducer = f"deit_{size}", REDUCERS.get(method, method)
    if method == "atc":
        reducer = f"atc_{args.get('linkage', 'average')}"
    if method in ELSEWHERE and reducer not in build.names("reducer"):
        raise ValueError(
            f"the checkpoint holds a {args['model']}: {ELSEWHERE[method]} does not exist here; there are the reducers "
            f"{', '.join(build.names('reducer'))}"
        )
    if backbone not in build.names("backbone") or reducer not in build.names("reducer"):
        raise ValueError(
            f"the checkpoint holds a {args['model']}, which would be backbone={backbone} reducer={reducer}; there are "
            f"the reducers {', '.join(build.names('reducer'))}"
        )
    if args.get("scoring_method", "K") != "K":
        raise ValueError(f"the checkpoint clusters by {args['scoring_method']} in place of the attention keys (K)")
    found = [f"backbone={backbone}", f"reducer={reducer}", "as_released=true"]
    if "dataset" in args:
        found.append(f"datamodule={DATA.get(args['dataset'], args['dataset'])}")
    if args.get("input_size", 224) != 224:
        found.append(f"backbone.img_size={args['input_size']}")
    if reducer != "none":
        found += ["schedule=stages", f"blocks={[place + 1 for place in args['reduction_loc']]}"]
        found += _counts(args["reduction_ratio"])
    if method == "atc" and "proportional_attn" in args:
        # Their one switch turns off both uses of a token's size.
        size_counts = str(bool(args["proportional_attn"])).lower()
        found += [f"proportional_attention={size_counts}", f"size_weighted={size_counts}"]
    if reducer in ("dpc_knn", "kmedoids"):
        known = {name: ours for name, ours in METHOD.items() if build.accepts(build.find_reducer(reducer), ours)}
        found += [f"reducer.{ours}={args[name]}" for name, ours in known.items() if name in args]
    return found


def _counts(ratio: Iterable[float]) -> list[str]:
    ratio = list(ratio)
    if len(ratio) == 1:
        return [f"keep_rate={ratio[0]}"]
    return ["schedule.keep_rate=null", f"+schedule.keep={[int(count) for count in ratio]}"]


def under(brought: list[str], said: list[str]) -> list[str]:
    """What is left of a checkpoint's overrides under those of the command line `said`.

    Settings of a reducer or a schedule go with it where the command line names another one, and counts of tokens where
    it names a keep rate.
    """
    values = {override.key_or_group: override.value() for override in _parsed(said)}
    chosen = values.keys() & {"reducer", "schedule"}
    gone = [f"{group}." for group in chosen if f"{group}={values[group]}" not in brought]
    if values.keys() & {"keep_rate", "schedule.keep_rate"}:
        gone.append("schedule.")
    keys = {text: text.split("=")[0].lstrip("+") for text in brought}
    return [text for text, key in keys.items() if key not in values and not key.startswith(tuple(gone))]


def _parsed(said: list[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(said)


def with_settings(cfg: DictConfig, name: str, said: list[str]) -> DictConfig:
    """The configuration under the settings in the file cfg.checkpoint, if it is a released one, else `cfg`.

    cfg: as composed from conf/NAME.yaml and the command line `said`, which goes before the file's settings; with
    experiment=NAME on it, nothing is taken from the file.
    """
    file = released.local(cfg.checkpoint)
    args = released.arguments(file) if file.is_file() else {}
    if not args or any(override.key_or_group == "experiment" for override in _parsed(said)):
        return cfg
    brought = under(overrides(args), said)
    log.info("settings of the checkpoint: %s", " ".join(brought))
    found = compose(name, [*brought, *said], return_hydra_config=True)
    with open_dict(found):
        choices = found.hydra.runtime.choices
        found.choices = {group: choices[group] for group in cfg.choices}
        found.output_dir = cfg.output_dir
        del found["hydra"]
    return found
