"""The threshold for a keep rate: how far a method that merges up to a distance has to go to leave as many tokens.

    python -m atc.calibrate backbone=deit_tiny images=FOLDER keep_rate=0.5
    python -m atc.calibrate backbone=deit_tiny datamodule=imagenet datamodule.root=PATH keep_rate=0.7 number=500

It is found on images without labels, stage by stage, or one for all stages (one=true). Printed are how many tokens
images then keep, and the command that evaluates so. All settings with their meaning: --help.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from atc.config import composed_command, search_path
from atc.config.settings import Threads
from atc.config.together import check_shares
from atc.config.written import check_kept
from atc.extras import needs
from atc.files import unwritable
from atc.printable import printable
from atc.values import Blocks, Count, KeepRates, Seed

CONFIG = "calibrate"
PATHS = ("images", "output", "picture", "backbone.checkpoint", "datamodule.root")  # taken literally
DRAWN = (".png", ".svg", ".pdf")
_TYPES: dict[str, Any] = {
    "keep_rate": KeepRates,
    "blocks": Blocks,
    "one": bool,
    "images": os.PathLike[str] | None,
    "part": Literal["val", "test"],
    "number": Count | None,
    "batch_size": Count,
    "output": os.PathLike[str] | None,
    "picture": os.PathLike[str] | None,
    "device": str | None,
    "threshold": None,
    "proportional_attention": bool | None,
    "size_weighted": bool | None,
    "seed": Seed,
    "threads": Threads | None,
    "debug": bool,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 1 after any other."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return composed_command.answer(CONFIG, __doc__, given, lambda: _run(given))


def _run(given: list[str]) -> None:
    logging.getLogger("atc").setLevel(logging.INFO)
    cfg = compose(CONFIG, overrides(given), return_hydra_config=True)
    choices = {key: str(value) for key, value in cfg.hydra.runtime.choices.items()}
    OmegaConf.set_struct(cfg, False)
    check_values(cfg)
    named = [setting for setting in given if setting.startswith("datamodule=")]
    if named and cfg.images is not None:
        raise ValueError(f"images={cfg.images} and {named[0]} are both given: thresholds are found on one of them")

    from atc.run import calibration  # imports PyTorch, which no mistake found above needs

    print(printable(calibration.calibrated(cfg, choices, search_path.without(given)), keep="\n"))


def overrides(arguments: Sequence[str]) -> list[str]:
    """The command line in Hydra's terms, with paths of any characters."""
    settings = composed_command.without_options(arguments, "keep_rate=0.5")
    return search_path.override(arguments) + [composed_command.literal(setting, PATHS) for setting in settings]


def check_values(cfg: DictConfig) -> None:
    """ValueError, one line, for a setting of conf/calibrate.yaml that cannot have its value."""
    for group in ("reducer", "schedule", "backbone"):
        if not isinstance(cfg.get(group), DictConfig):
            raise ValueError(f"{group}={cfg.get(group)}: a calibration needs a {group}")
    composed_command.check_types(cfg, _TYPES)
    check_shares(cfg.keep_rate if OmegaConf.is_list(cfg.keep_rate) else None, cfg.blocks)
    if cfg.images is None and not isinstance(cfg.get("datamodule"), DictConfig):
        raise ValueError("images=null and datamodule=null: name a folder, images=FOLDER, or a data set")
    if cfg.images is not None and not Path(str(cfg.images)).expanduser().exists():
        raise FileNotFoundError(f"images={cfg.images}: no such image or folder (looked from {Path.cwd()})")
    for name, endings in (("output", (".json",)), ("picture", DRAWN)):
        if cfg[name] is not None and Path(str(cfg[name])).suffix not in endings:
            raise ValueError(f"{name}={cfg[name]} must end in {' or '.join(endings)}")
        _check_written(name, cfg)
    if cfg.picture is not None:
        needs(f"picture={cfg.picture}", "matplotlib", "pictures")


def _check_written(name: str, cfg: DictConfig) -> None:
    if cfg[name] is None:
        return
    said, path = f"{name}={cfg[name]}", Path(str(cfg[name]))
    if reason := unwritable(path):
        raise ValueError(f"{said} {reason}")
    check_kept(said, path, cfg)


if __name__ == "__main__":
    sys.exit(main())
