"""Which method and schedule loses least at a given cost; the settings are those of conf/choose.yaml.

    python -m atc.choose backbone=deit_tiny images=FOLDER budget=0.5
    python -m atc.choose backbone=deit_small images=FOLDER cost=latency budget=0.6 reducers=[atc_average,tome]
    python -m atc.choose datamodule=digits budget=0.5                   a data set that brings its own backbone

Methods are compared by agreement with the model without reduction: the share of images on which both put the same
class in front. No labels are needed. Printed are the best of each method, their agreement on images that were not
used for choosing, and the command that evaluates the best. --config-dir DIR adds settings files of your own. All
settings with their meaning: --help.
"""

import logging
import sys
from collections.abc import Sequence

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from atc.choose import settings
from atc.config import build, composed_command, search_path
from atc.config.arguments import option
from atc.config.combinations import chosen_options
from atc.printable import printable

CONFIG = "choose"
PATHS = ("images", "output", "backbone.checkpoint", "datamodule.root")  # taken literally, whatever is in them
PASSED_ON = ("backbone", "datamodule", "task")  # groups whose settings the printed command needs too


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 1 after any other."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return composed_command.answer(CONFIG, __doc__, given, lambda: _run(given))


def _run(given: list[str]) -> None:
    composed_command.log_to_stderr("atc.choose")
    logging.getLogger("atc.vit").setLevel(logging.ERROR)  # no notices of every model that is made on the way
    cfg = composed(overrides(given))
    settings.check_values(cfg)

    from atc.choose import choosing  # imports PyTorch, which no mistake found above needs

    chosen = choosing.choose(cfg, _passed_on(given))
    for file in chosen.files:
        print(printable(str(file)))
    print(f"\n{chosen.command}")


def overrides(arguments: Sequence[str]) -> list[str]:
    """The command line in Hydra's terms: paths with any characters, and the backbone that a data set brings.

    Args:
        arguments: the command line.

    Raises:
        ValueError: an argument that begins with a dash, other than --config-dir; one line.
    """
    given = search_path.override(arguments)
    for argument in composed_command.without_options(arguments, "budget=0.5"):
        given.append(composed_command.literal(argument, PATHS))
    return given + _own_backbone(given)


def _own_backbone(given: Sequence[str]) -> list[str]:
    """The backbone of a data set that is small enough to bring its own."""
    said = {key: value for key, _, value in (argument.partition("=") for argument in given)}
    own = said.get("datamodule")
    return [f"backbone={own}"] if "backbone" not in said and own in build.names("backbone") else []


def composed(given: Sequence[str]) -> DictConfig:
    """conf/choose.yaml with overrides, and in `choices` which option of each group it has; Hydra is initialised."""
    cfg = compose(CONFIG, list(given), return_hydra_config=True)
    OmegaConf.set_struct(cfg, False)
    cfg.choices = chosen_options(cfg.hydra.runtime)
    del cfg["hydra"]
    return cfg


def _passed_on(given: Sequence[str]) -> list[str]:
    """What the printed command needs of a command line, with a directory of one's own settings."""
    directory = option(given, *search_path.OPTIONS)
    own = [search_path.OPTIONS[0], directory] if directory is not None else []
    said = [*search_path.without(given), *_own_backbone(given)]
    return [*own, *(one for one in said if one.partition("=")[0].lstrip("+~").partition(".")[0] in PASSED_ON)]


if __name__ == "__main__":
    sys.exit(main())
