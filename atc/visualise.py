"""Pictures of what token reduction does to one image; the settings are those of conf/visualise.yaml.

    python -m atc.visualise image=cat.jpg reducer=atc_average keep_rate=0.25
    python -m atc.visualise image=cat.jpg reducer=[atc_average,tome,topk] keep_rate=0.5 output=cat.svg
    python -m atc.visualise image=cat.jpg reducer=[atc_average,tome] output=cat.gif     the order of merging
    python -m atc.visualise image=cat.jpg --html cat.html                               an interactive page
    python -m atc.visualise image=digits:12                                             an image of a data set

reducer, keep_rate and t take one value or several in brackets. A backbone's weights are downloaded, or come from
backbone.checkpoint=PATH. All settings with their meaning: --help.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from omegaconf import DictConfig
from timm.data.config import resolve_model_data_config

from atc import build
from atc.analysis import animation, figure, methods, page, photo
from atc.arguments import quoted
from atc.choices import Choice, combinations
from atc.complaint import one_line

CONFIG = "visualise"
PATHS = ("image", "output", "html", "backbone.checkpoint", "datamodule.root")  # taken literally, whatever is in them
SEVERAL = ("reducer", "keep_rate", "t")  # settings that may be lists: every combination is drawn
DRAWN = (".png", ".svg", ".pdf", ".gif")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 1 after any other."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(given):
        print(__doc__ + "\n" + (build.conf_dir() / f"{CONFIG}.yaml").read_text())
        return 0
    said = logging.getLogger("atc")
    said.setLevel(logging.INFO)
    if not said.handlers:
        said.addHandler(logging.StreamHandler())
    try:
        with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
            for path in visualise(overrides(given)):
                print(path)
    except Exception as error:
        line = None if "debug=true" in given else one_line(error, CONFIG, [said for said in given if "[" not in said])
        if line is None:
            traceback.print_exception(error)
            return 1
        print(f"error: {line}", file=sys.stderr)
        return 2
    return 0


def overrides(arguments: Sequence[str]) -> list[str]:
    """The command line in Hydra's terms: `--html FILE`, `image=NAME:INDEX` and paths with any characters."""
    given, waiting = [], iter(arguments)
    for argument in waiting:
        if argument.startswith("--html"):
            value = argument.partition("=")[2] or next(waiting, "")
            if not value:
                raise ValueError("--html needs the file to write, as in --html merging.html")
            argument = f"html={value}"
        elif argument.startswith("-"):
            raise ValueError(
                f"{argument}: settings have no dashes, as in output=merging.png; the only option is --html FILE"
            )
        key, _, value = argument.partition("=")
        place = re.fullmatch(r"(\w+):(\d+)", value) if key == "image" else None
        if place and place[1] in build.names("datamodule") and not Path(value).exists():
            given += [f"datamodule={place[1]}", f"index={place[2]}"]
        elif key in PATHS and value not in ("", "null") and value[0] not in "'\"":
            given.append(f"{key}={quoted(value)}")
        else:
            given.append(argument)
    named = {argument.partition("=")[0] for argument in given}
    data_set = next((argument.partition("=")[2] for argument in given if argument.startswith("datamodule=")), None)
    if "backbone" not in named and data_set in build.names("backbone"):
        given.append(f"backbone={data_set}")  # a data set small enough to bring its own backbone
    return given


def visualise(given: Sequence[str]) -> list[Path]:
    """Draw what the overrides of conf/visualise.yaml ask for; the files written. Needs Hydra initialised on conf/."""
    first = next(choices(given)).cfg
    wanted = _wanted(first)
    picture = None if first.image is None else photo.opened(first.image)
    vit = build.instantiate(first.backbone).eval()
    data = resolve_model_data_config(vit)
    if picture is None:
        datamodule = build.instantiate(first.datamodule)
        shown = photo.from_data_set(datamodule, first.part, first.index, data, _name(first))
    else:
        shown = photo.from_picture(picture, data, _name(first))
    written = []
    if first.html is not None:
        written.append(Path(first.html))
        written[0].write_text(
            page.render(shown, list(_switchable(given, vit)), methods.setting(first)), encoding="utf-8"
        )
    if wanted is not None:
        written.append(wanted)
        drawn = [methods.build_method(choice.cfg, vit, choice.reducer) for choice in choices(given)]
        _draw(first, shown, drawn, wanted)
    return written


def _draw(cfg: DictConfig, shown: photo.Photo, drawn: Sequence[methods.Method], path: Path) -> None:
    if path.suffix == ".gif":
        sheets = animation.frames(methods.parts(shown, drawn), cfg.gif.per_stage)
        animation.save(sheets, path, cfg.gif.milliseconds)
    else:
        figure.save(figure.figure(methods.rows(shown, drawn, _looks(cfg))), path, palette=cfg.png_colours)


def choices(given: Sequence[str]) -> Iterator[Choice]:
    """Every combination of the settings given as lists, as if it had been given alone."""
    return combinations(CONFIG, given, SEVERAL)


def _switchable(given: Sequence[str], vit: Any) -> Iterator[methods.Method]:
    """What the page can switch to: the reducers and settings named, or all that work."""
    cfg = next(choices(given)).cfg
    named = {argument.partition("=")[0] for argument in given}
    wanted = list(given)
    if "keep_rate" not in named and "keep_rate" in cfg.schedule:
        wanted.append(f"keep_rate=[{','.join(map(str, cfg.page.keep_rates))}]")
    if "reducer" in named:
        yield from (methods.build_method(choice.cfg, vit, choice.reducer) for choice in choices(wanted))
        return
    wanted.append(f"reducer=[{','.join(cfg.page.reducers or build.names('reducer'))}]")
    left_out = set()
    for choice in choices(wanted):
        method = None if choice.reducer in left_out else methods.worth_switching_to(choice.cfg, vit, choice.reducer)
        if method is None:
            left_out.add(choice.reducer)
        else:
            yield method


def _wanted(cfg: DictConfig) -> Path | None:
    """The picture to write, or None if only a page is asked for. All that can be refused early is refused here."""
    if cfg.image is None and (cfg.get("datamodule") is None or cfg.index is None):
        raise ValueError("no image: give image=PATH, or an image of a data set as in image=digits:12")
    _looks(cfg)
    for key in ("output", "html"):
        folder = Path(cfg[key] or ".").parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{key}={cfg[key]}: there is no directory {folder}")
    if cfg.output is None:
        return None if cfg.html else Path(f"{_name(cfg)}_tokens.png")
    path = Path(cfg.output)
    if path.suffix not in DRAWN:
        raise ValueError(f"output={cfg.output} must end in one of {', '.join(DRAWN)}")
    return path


def _looks(cfg: DictConfig) -> list[Any]:
    looks = [cfg.look] if isinstance(cfg.look, str) else list(cfg.look)
    unknown = [look for look in looks if look not in figure.LOOKS]
    if unknown or not looks:
        raise ValueError(f"look={cfg.look}: {build.nearest(str([*unknown, ''][0]), list(figure.LOOKS))}")
    return looks


def _name(cfg: DictConfig) -> str:
    """What the image is called: cat, digits_12."""
    if cfg.image is not None:
        return Path(cfg.image).stem
    return f"{str(cfg.datamodule._target_).rpartition('.')[2].lower()}_{cfg.index}"


if __name__ == "__main__":
    sys.exit(main())
