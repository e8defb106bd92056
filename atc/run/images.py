"""The images of a generation: which they are, and making those that are missing."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from atc import provenance
from atc.config import generation
from atc.diffusion import pipelines, prompts
from atc.diffusion.image_set import ImageSet, save
from atc.diffusion.prompts import Wanted
from atc.diffusion.reducing import reduce
from atc.diffusion.sampling import Sampling, sample
from atc.runs import identity
from atc.runs.context import Run
from atc.runs.settings import plain_settings

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds between lines of a log that no terminal shows


def image_set(cfg: DictConfig) -> ImageSet:
    """The images of a configuration; nothing is loaded or written."""
    determining = identity.settings(cfg)
    directory = cfg.images or Path(cfg.paths.runs) / "images" / identity.image_set(determining)
    named = OmegaConf.to_container(cfg.classes) if OmegaConf.is_config(cfg.classes) else cfg.classes
    wanted = list(prompts.wanted_images(named, cfg.per_class, cfg.prompt, cfg.seed))  # type: ignore[arg-type]  # checked
    return ImageSet(Path(directory).expanduser().absolute(), wanted, identity.of_images(determining))


def counts(images: ImageSet) -> tuple[int, int]:
    """How many images are there, and how many there are to be."""
    return len(images.wanted) - len(images.missing()), len(images.wanted)


def computed_in(cfg: DictConfig) -> dict[str, str]:
    """What else an image depends on: noise of a GPU is not that of a CPU."""
    device = pipelines.device_of(cfg.device)
    return {"device": device.type, "precision": pipelines.precision_of(cfg.sampling.precision, device)}


def reduces(cfg: DictConfig) -> bool:
    """Whether tokens merge at all."""
    return not str(cfg.reducer._target_).endswith(".NoReduction")


def make_missing(cfg: DictConfig, images: ImageSet, run: Run | None = None, *, wait: bool = True) -> int:
    """Make what is missing.

    Args:
        cfg: the configuration.
        images: those of it.
        run: gets a notice where the pipeline samples otherwise than the paper.
        wait: until other processes have made theirs.

    Returns:
        How many images this process made.

    Raises:
        ValueError: the directory holds images that are made otherwise, or the pipeline cannot be loaded; one line.
    """
    number, count = generation.shard(cfg.shard)
    own = images.wanted[number::count]
    if not images.missing(own):
        return 0
    made_in = computed_in(cfg)
    images.check(made_in)
    device = pipelines.device_of(cfg.device)
    pipeline = pipelines.load_pipeline(cfg.pipeline, made_in["precision"], device)
    if run is not None and (notice := pipelines.sampler_notice(pipeline)):
        run.update(notices=[*(run.record.notices or ()), notice])
    drawn = cfg.merging.seed is not None and reduces(cfg)
    drawing = torch.Generator(device) if drawn else None
    images.write_manifest()
    with ExitStack() as stack:
        handle = stack.enter_context(reduce(pipeline, **_reduction(cfg, drawing))) if reduces(cfg) else None
        seen = stack.enter_context(_progress(images))

        def make(one: Wanted) -> None:
            made = sample(
                pipeline,
                one,
                Sampling(**{key: value for key, value in cfg.sampling.items() if key != "precision"}),
                handle=handle,
                drawing=drawing,
                drawing_seed=cfg.merging.seed,
            )
            about = {
                **images.made_from(one),
                **made_in,
                "seconds": round(made.seconds, 4),
                "tokens": made.tokens,
                "commit": provenance.commit(),
                "versions": provenance.versions(("atc-toolkit", "torch", "diffusers")),
            }
            save(made.image, images.path(one), about)
            seen()

        return images.complete(make, own, wait=wait)


def _reduction(cfg: DictConfig, drawing: torch.Generator | None) -> dict[str, Any]:
    """The arguments of `atc.diffusion.reduce`."""
    given = plain_settings(cfg.merging, resolve=True)
    args = {key: value for key, value in plain_settings(cfg.reducer, resolve=True).items() if key[0] != "_"}
    steps = given["steps"]
    return {
        "reducer": str((cfg.choices or {})["reducer"]),
        **{key: given[key] for key in ("keep_rate", "max_downsample", "sites", "every")},
        "steps": None if steps is None else tuple(steps),
        "generator": drawing,
        "reducer_args": args,
    }


@contextmanager
def _progress(images: ImageSet) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, else a line now and then: how many images are there, whoever made them."""
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        there, count = counts(images)
        task = bar.add_task("images", total=count, completed=there)
        log.info("%d of %d images are there, in %s", there, count, images.directory)
        said = [bar.get_time()]

        def seen() -> None:
            made = counts(images)[0]
            bar.update(task, completed=made)
            if bar.disable and bar.get_time() - said[0] > EVERY:
                said[0] = bar.get_time()
                log.info("%d of %d images are there", made, count)

        yield seen
