"""Pictures, animations and pages of one image, as conf/visualise.yaml sets them, written to files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from atc.config import build
from atc.config.combinations import Choice
from atc.files import write_whole
from atc.pictures import across, animation, figure, methods, page, photo, settings
from atc.vit.images import data_config

Combine = Callable[[Sequence[str]], Iterator[Choice]]


def write(given: Sequence[str], choices: Combine, wanted: Path | None) -> list[Path]:
    """Draw what the overrides set.

    Args:
        given: overrides of conf/visualise.yaml.
        choices: makes every combination of the settings given as lists.
        wanted: the picture to write; None if only a page is written.

    Returns:
        The files written.
    """
    first = next(choices(given)).cfg
    name = settings.image_name(first)
    picture = None if first.image is None else photo.opened(first.image)
    vit = build.instantiate(first.backbone).eval()
    data = data_config(vit)
    if picture is None:
        datamodule = build.instantiate(first.datamodule)
        shown = photo.from_data_set(datamodule, first.part, first.index, data, name)
    else:
        shown = photo.from_picture(picture, data, name)
    written = []
    if first.html is not None:
        switchable = list(_switchable(given, choices, vit))
        written.append(write_whole(str(first.html), page.render(shown, switchable, methods.setting(first))))
    if wanted is not None:
        drawn = [methods.build_method(choice.cfg, vit, str(choice.reducer)) for choice in choices(given)]
        more = [photo.from_picture(photo.opened(path), data, Path(path).stem) for path in first.more_images or []]
        _draw(first, [shown, *more], drawn, wanted)
        written.append(wanted)
    return written


def _draw(cfg: DictConfig, images: Sequence[photo.Photo], drawn: Sequence[methods.Method], path: Path) -> None:
    shown = images[0]
    if cfg.last_stage:
        lines = [methods.rows(image, drawn, settings.looks(cfg)) for image in images]
        figure.save(across.across(lines), path, palette=cfg.png_colours)
    elif path.suffix == ".gif":
        sheets = animation.frames(methods.parts(shown, drawn), cfg.gif.per_stage)
        animation.save(sheets, path, cfg.gif.milliseconds)
    else:
        rows = methods.rows(shown, drawn, settings.looks(cfg))
        figure.save(figure.figure(rows), path, palette=cfg.png_colours)


def _switchable(given: Sequence[str], choices: Combine, vit: Any) -> Iterator[methods.Method]:
    """What the page can switch to: the reducers and settings named, or all that work."""
    cfg = next(choices(given)).cfg
    named = {argument.partition("=")[0] for argument in given}
    wanted = list(given)
    if not named & {"keep_rate", "threshold"} and "keep_rate" in cfg.schedule:
        wanted.append(f"keep_rate=[{','.join(map(str, cfg.page.keep_rates))}]")
    if "reducer" in named:
        yield from (methods.build_method(choice.cfg, vit, str(choice.reducer)) for choice in choices(wanted))
        return
    wanted.append(f"reducer=[{','.join(cfg.page.reducers or build.names('reducer'))}]")
    left_out = set()
    for choice in choices(wanted):
        name = str(choice.reducer)
        method = None if name in left_out else methods.worth_switching_to(choice.cfg, vit, name)
        if method is None:
            left_out.add(name)
        else:
            yield method
