"""Generate: from a configuration to images, and to a results record of what they are worth."""

import logging
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from atc import code, provenance
from atc.config import generation
from atc.core.metric import PUBLISHED
from atc.diffusion import pipelines, prompts, sheets
from atc.diffusion.image_set import ImageSet, save
from atc.diffusion.prompts import Wanted
from atc.diffusion.reducing import reduce
from atc.diffusion.sampling import Sampling, sample
from atc.files import whole_file
from atc.grids import claim
from atc.runs import identity, lock, record_file, store
from atc.runs.context import Run, recorded
from atc.runs.record import Record
from atc.runs.settings import plain_settings

log = logging.getLogger(__name__)

METRIC = PUBLISHED["fid"]
SHEET = "contact_sheet.png"
ON_SHEET = 100  # images
EVERY = 60.0  # seconds between lines of a log that no terminal shows


def generate(cfg: DictConfig) -> Record:
    """Generate the images of a run, and score them where there is a reference to score by.

    A process that finds the run held by another makes images of it too, until all are there.

    Args:
        cfg: conf/generate.yaml composed, with output_dir set.

    Returns:
        The record, as written to output_dir/results.json; that of a process that helped has no status.

    Raises:
        ValueError: settings do not go together, or the directory holds other images.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    images = image_set(cfg)
    if cfg.shard is not None or not lock.is_first():
        if _make(cfg, images, wait=False) and not lock.is_first():
            return Record()
        if images.missing():
            log.info("%d of %d images are there; other processes make the rest", *_counts(images))
            return Record()
    for last in (False, True):
        try:
            with lock.alone(cfg.output_dir):
                return _recorded(cfg, images)
        except lock.InUse as held:
            if last:  # it has all its images and scores them
                return Record()
            log.info("%s; this process makes images of the same run", str(held).partition(": ")[0])
            _make(cfg, images)
    raise AssertionError  # the loop returns


def image_set(cfg: DictConfig) -> ImageSet:
    """The images of a configuration; nothing is loaded or written."""
    determining = identity.settings(cfg)
    directory = cfg.images or Path(cfg.paths.runs) / "images" / identity.image_set(determining)
    named = OmegaConf.to_container(cfg.classes) if OmegaConf.is_config(cfg.classes) else cfg.classes
    wanted = list(prompts.wanted_images(named, cfg.per_class, cfg.prompt, cfg.seed))  # type: ignore[arg-type]
    return ImageSet(Path(directory).expanduser().absolute(), wanted, identity.of_images(determining))


def _counts(images: ImageSet) -> tuple[int, int]:
    return len(images.wanted) - len(images.missing()), len(images.wanted)


def _computed_in(cfg: DictConfig) -> dict[str, str]:
    """What else an image depends on: noise of a GPU is not that of a CPU."""
    device = pipelines.device_of(cfg.device)
    return {"device": device.type, "precision": pipelines.precision_of(cfg.sampling.precision, device)}


def _recorded(cfg: DictConfig, images: ImageSet) -> Record:
    known = record_file.RecordFile(Path(cfg.output_dir) / record_file.FILE, resume=True).record
    if known.status == "finished" and not images.missing():
        return _finished_before(cfg, known)
    computed_in = _computed_in(cfg)
    images.check(computed_in)
    _check_reference(cfg)
    run = Run(cfg, _settings(cfg, images, computed_in), _notices(cfg), resume=known.status != "finished")
    run.begin()
    with recorded(run):
        run.update(versions=provenance.versions(("diffusers", "transformers", "accelerate")))
        _make(cfg, images, run)
        images.tidy()
        _note(cfg, run, images)
        record = run.end("finished")
    log.info(_summary(record, images))
    return record


def _settings(cfg: DictConfig, images: ImageSet, computed_in: dict[str, str]) -> dict[str, Any]:
    return {
        **{group: name for group, name in (cfg.choices or {}).items() if name is not None},
        "reduces": _reduces(cfg),
        "score": METRIC.name,
        "metric": METRIC._asdict(),
        "seed": cfg.seed,
        "reader": None,
        "precision": computed_in["precision"],
        "tf32": provenance.tf32(computed_in["device"] == "cuda"),
        "pipeline": str(cfg.pipeline),
        "images_directory": str(images.directory),
    }


def _notices(cfg: DictConfig) -> list[str]:
    return [] if cfg.merging.every == 1 else [f"merging.every={cfg.merging.every} is ours, not of the papers"]


def _reduces(cfg: DictConfig) -> bool:
    return not str(cfg.reducer._target_).endswith(".NoReduction")


def _make(cfg: DictConfig, images: ImageSet, run: Run | None = None, *, wait: bool = True) -> int:
    """Make what is missing; how many images this process made."""
    number, count = generation.shard(cfg.shard)
    own = images.wanted[number::count]
    if not images.missing(own):
        return 0
    computed_in = _computed_in(cfg)
    images.check(computed_in)
    device = pipelines.device_of(cfg.device)
    pipeline = pipelines.load_pipeline(cfg.pipeline, computed_in["precision"], device)
    if run is not None and (notice := pipelines.sampler_notice(pipeline)):
        run.update(notices=[*(run.record.notices or ()), notice])
    drawn = cfg.merging.seed is not None and _reduces(cfg)
    drawing = torch.Generator(device) if drawn else None
    images.write_manifest()
    with ExitStack() as stack:
        handle = stack.enter_context(reduce(pipeline, **_reduction(cfg, drawing))) if _reduces(cfg) else None
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
                **computed_in,
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
    usual = {"steps": None, "every": 1}
    return {
        "reducer": str((cfg.choices or {})["reducer"]),
        "keep_rate": given["keep_rate"],
        "max_downsample": given["max_downsample"],
        "sites": given["sites"],
        **{key: given[key] for key, value in usual.items() if given[key] != value},
        **({"generator": drawing} if drawing is not None else {}),
        "reducer_args": args,
    }


@contextmanager
def _progress(images: ImageSet) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, else a line now and then: how many images are there, whoever made them."""
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        there, count = _counts(images)
        task = bar.add_task("images", total=count, completed=there)
        log.info("%d of %d images are there, in %s", there, count, images.directory)
        said = [bar.get_time()]

        def seen() -> None:
            made = _counts(images)[0]
            bar.update(task, completed=made)
            if bar.disable and bar.get_time() - said[0] > EVERY:
                said[0] = bar.get_time()
                log.info("%d of %d images are there", made, count)

        yield seen


def _check_reference(cfg: DictConfig) -> None:
    """What cannot be scored is refused before hours of generation."""


def _note(cfg: DictConfig, run: Run, images: ImageSet) -> None:
    """Score the images, and put into the record what they took."""
    about = images.about()
    seconds = [float(one["seconds"]) for one in about if isinstance(one.get("seconds"), int | float)]
    if seconds:
        spread = statistics.stdev(seconds) if len(seconds) > 1 else None
        run.note(seconds_per_image={"mean": statistics.fmean(seconds), "std": spread})
    tokens: list[tuple[str, str, int, int]] = next((one["tokens"] for one in about if one.get("tokens")), [])
    run.update(tokens_merged=[f"{name} {site}: {before} -> {after}" for name, site, before, after in tokens])
    with whole_file(run.directory / SHEET) as file:
        _contact_sheet(images).save(file, format="PNG")
    name = "off_the_shelf" if _reduces(cfg) else "dense"
    result: dict[str, float | None] = {"images": len(images.wanted), "images_of": len(images.wanted)}
    run.note(**{name: result})


def _contact_sheet(images: ImageSet) -> Image.Image:
    step = -(-len(images.wanted) // ON_SHEET)
    shown: Sequence[Wanted] = images.wanted[::step]
    pictures = []
    for one in shown:
        with Image.open(images.path(one)) as picture:
            picture.draft("RGB", (128, 128))
            pictures.append((f"{one.class_index} {one.class_name}", picture.convert("RGB").resize((128, 128))))
    return sheets.contact_sheet(pictures)


def _finished_before(cfg: DictConfig, known: Record) -> Record:
    log.info("this run is finished")
    groups = claim.changed(known, code.of_config(plain_settings(cfg)))
    if groups:
        log.warning("code changed since: %s; remove %s to generate anew", ", ".join(groups), cfg.output_dir)
    if store.reconcile(cfg.output_dir, cfg.paths.store, cfg):
        log.info("its record was not in the results store yet, and now is")
    return known


def _summary(record: Record, images: ImageSet) -> str:
    result = record.result("off_the_shelf" if record.reduces else "dense") or {}
    seconds = record.result("seconds_per_image") or {}
    score = result.get(METRIC.name)
    facts = [
        f"{record.reducer}: {len(images.wanted)} images in {images.directory}",
        f"{seconds.get('mean') or 0.0:.2f} s an image" + (f" ± {seconds['std']:.2f}" if seconds.get("std") else ""),
        f"FID {score:.2f}" if score is not None else "no FID: give fid.reference=DIRECTORY for one",
    ]
    return "\n".join(facts)
