"""Pictures of what token reduction does to one image; the settings are those of conf/visualise.yaml.

    python -m atc.visualise image=cat.jpg reducer=atc_average keep_rate=0.25
    python -m atc.visualise image=cat.jpg reducer=[atc_average,tome,topk] keep_rate=0.5 output=cat.svg
    python -m atc.visualise image=cat.jpg reducer=[atc_average,tome] output=cat.gif     the order of merging
    python -m atc.visualise image=cat.jpg --html cat.html                               an interactive page
    python -m atc.visualise image=digits:12                                             an image of a data set

reducer, keep_rate, threshold and t take one value or several in brackets. A backbone's weights are downloaded, or come
from backbone.checkpoint=PATH. --config-dir DIR adds settings files of your own. All settings and their meaning: --help.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from atc.config import build, composed_command, search_path
from atc.config.combinations import Choice, combinations
from atc.extras import needs
from atc.pictures import settings
from atc.printable import printable

CONFIG = "visualise"
PATHS = ("image", "output", "html", "backbone.checkpoint", "datamodule.root")  # taken literally, whatever is in them
SEVERAL = ("reducer", "keep_rate", "threshold", "t")  # settings that may be lists: every combination is drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 1 after any other."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return composed_command.answer(CONFIG, __doc__, given, lambda: _run(given))


def _run(given: list[str]) -> None:
    composed_command.log_to_stderr("atc")
    for path in visualise(overrides(given)):
        print(printable(str(path)))


def overrides(arguments: Sequence[str]) -> list[str]:
    """The command line in Hydra's terms: options, `image=NAME:INDEX`, and paths with any characters."""
    given, waiting = search_path.override(arguments), iter(search_path.without(arguments))
    for argument in waiting:
        if argument.startswith("--html"):
            value = argument.partition("=")[2] or next(waiting, "")
            if not value:
                raise ValueError("--html needs the file to write, as in --html merging.html")
            argument = f"html={value}"
        elif argument.startswith("-"):
            raise ValueError(
                f"{argument}: settings have no dashes, as in output=merging.png; there are the options --html FILE and "
                "--config-dir DIR"
            )
        key, _, value = argument.partition("=")
        place = re.fullmatch(r"(\w+):(\d+)", value) if key == "image" else None
        if place and place[1] in build.names("datamodule") and not Path(value).exists():
            given += [f"datamodule={place[1]}", f"index={place[2]}"]
        else:
            given.append(composed_command.literal(argument, PATHS))
    named = {argument.partition("=")[0] for argument in given}
    data_set = next((argument.partition("=")[2] for argument in given if argument.startswith("datamodule=")), None)
    if "backbone" not in named and data_set in build.names("backbone"):
        given.append(f"backbone={data_set}")  # a data set small enough to bring its own backbone
    return given


def visualise(given: Sequence[str]) -> list[Path]:
    """Draw what the overrides of conf/visualise.yaml set; the files written. Needs Hydra initialised on conf/."""
    for choice in choices(given):
        settings.check_values(choice.cfg)
    wanted = settings.wanted(next(choices(given)).cfg)
    needs("python -m atc.visualise", "matplotlib", "pictures")

    from atc.pictures import outputs  # imports PyTorch, which no mistake found above needs

    return outputs.write(given, choices, wanted)


def choices(given: Sequence[str]) -> Iterator[Choice]:
    """Every combination of the settings given as lists, as if it had been given alone."""
    return combinations(CONFIG, given, SEVERAL)


if __name__ == "__main__":
    sys.exit(main())
