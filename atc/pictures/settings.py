"""The settings of conf/visualise.yaml: what each may be, and what may be written where. Imports no PyTorch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from omegaconf import DictConfig, OmegaConf

from atc.config import build, composed_command
from atc.config.written import check_kept, check_place
from atc.files import same_file
from atc.values import Blocks, KeepRates, Seed, Thresholds, Whole, shown

Look = Literal["mean", "detail", "distinct"]
LOOKS: tuple[Look, ...] = get_args(Look)
DRAWN = (".png", ".svg", ".pdf", ".gif")
Colours = Annotated[int, "[1, 256]"]
PerStage = Annotated[int, "[1, 1000]"]
Milliseconds = Annotated[int, "[10, 26000]"]  # a GIF counts hundredths of a second in 16 bits, and pauses for 25 frames
_TYPES: dict[str, Any] = {
    "image": os.PathLike[str] | None,
    "index": Whole | None,
    "part": Literal["test", "val"],
    "output": os.PathLike[str] | None,
    "last_stage": bool | None,
    "more_images": Sequence[str] | None,
    "html": os.PathLike[str] | None,
    "png_colours": Colours | None,
    "gif.per_stage": PerStage,
    "gif.milliseconds": Milliseconds,
    "page.reducers": Sequence[str] | None,
    "page.keep_rates": Sequence[KeepRates],
    "keep_rate": KeepRates,
    "blocks": Blocks,
    "threshold": Thresholds | None,
    "t": Whole,
    "as_released": bool,
    "proportional_attention": bool | None,
    "size_weighted": bool | None,
    "seed": Seed,
    "debug": bool,
}
_GROUPS = {
    "reducer": "reducer=atc_average, for one, or none",
    "schedule": "schedule=stages, constant or linear",
    "backbone": "backbone=digits, for one",
}


def check_values(cfg: DictConfig) -> None:
    """ValueError, one line, for a setting that cannot have its value."""
    for group, instead in _GROUPS.items():
        if not isinstance(cfg.get(group), DictConfig):
            raise ValueError(f"{group}={cfg.get(group)}: a picture needs a {group}: {instead}")
    for key in ("gif", "page"):
        if not isinstance(cfg.get(key), DictConfig):
            raise ValueError(f"{key}={shown(cfg.get(key))} must be settings, as in conf/visualise.yaml")
    composed_command.check_types(cfg, _TYPES)
    for key in ("page.reducers", "page.keep_rates"):
        if OmegaConf.select(cfg, key) == []:
            raise ValueError(f"{key}=[] is empty: leave it out for the default, or name at least one")
    for name in cfg.page.reducers or []:
        if name not in build.names("reducer"):
            raise ValueError(f"page.reducers: unknown reducer '{name}': {build.nearest(name, build.names('reducer'))}")
    looks(cfg)


def looks(cfg: DictConfig) -> list[Any]:
    """The looks asked for; ValueError for others."""
    named = [cfg.look] if not OmegaConf.is_list(cfg.look) else list(cfg.look)
    unknown = [look for look in named if look not in LOOKS]
    if unknown or not named:
        raise ValueError(f"look={cfg.look}: {build.nearest(str([*unknown, ''][0]), list(LOOKS))}")
    return named


def image_name(cfg: DictConfig) -> str:
    """What the image is called: cat, digits_12."""
    if cfg.image is not None:
        return Path(str(cfg.image)).stem
    return f"{str(cfg.datamodule._target_).rpartition('.')[2].lower()}_{cfg.index}"


def existing_image(path: str | Path) -> Path:
    """The image file, ~ being the home directory; FileNotFoundError, or ValueError for what is no regular file."""
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise FileNotFoundError(f"the image {path} is a directory, not an image file (looked from {Path.cwd()})")
    if path.exists():
        raise ValueError(f"the image {path} is a device or a pipe, not an image file")
    raise FileNotFoundError(f"the image {path} does not exist (looked from {Path.cwd()})")


def wanted(cfg: DictConfig) -> Path | None:
    """The picture to write, or None if only a page is written.

    All that can be refused before anything is computed is refused here: also what would overwrite what is read.
    """
    if cfg.image is None and (cfg.get("datamodule") is None or cfg.index is None):
        raise ValueError("no image: give image=PATH, or an image of a data set as in image=digits:12")
    data = (cfg.get("choices") or {}).get("datamodule")
    others = [f"datamodule={data}"] if data else []
    others += [] if cfg.index is None else [f"index={cfg.index}"]
    if cfg.image is not None and others:
        raise ValueError(f"image={cfg.image} and {' '.join(others)} are two images: name one of them")
    if cfg.more_images and not (cfg.last_stage and cfg.image is not None):
        raise ValueError("more_images=[...] goes with last_stage=true and image=PATH: a line for each image")
    for path in filter(None, [cfg.image, *(cfg.more_images or [])]):
        existing_image(path)
    if cfg.output is None:
        picture = None if cfg.html is not None else Path(f"{image_name(cfg)}_tokens.png")
    else:
        picture = Path(str(cfg.output))
        if picture.suffix not in DRAWN:
            raise ValueError(f"output={cfg.output} must end in one of {', '.join(DRAWN)}")
    if cfg.last_stage and picture is not None and picture.suffix == ".gif":
        raise ValueError(
            f"last_stage=true draws one picture, and output={cfg.output} is an animation: .png, .svg or .pdf"
        )
    written = {"output": picture, "html": None if cfg.html is None else Path(str(cfg.html))}
    for key, path in written.items():
        if path is not None:
            check_place(f"{key}={path}", path)
            check_kept(f"{key}={path}", path, cfg)
    both = [path for path in written.values() if path is not None]
    if len(both) == 2 and same_file(*both):
        raise ValueError(f"output={cfg.output} and html={cfg.html} are one file: choose two names")
    return picture
