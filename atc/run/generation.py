"""Generate: from a configuration to images, and to a results record of what they are worth."""

import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image

from atc import code, provenance
from atc.config.generation import check_installed
from atc.core.metric import PUBLISHED
from atc.diffusion import sheets
from atc.diffusion.image_set import ImageSet
from atc.diffusion.prompts import Wanted
from atc.files import whole_file
from atc.grids import claim
from atc.run.images import computed_in, counts, image_set, make_missing, reduces
from atc.runs import identity, lock, record_file, store
from atc.runs.context import Run, recorded
from atc.runs.record import Record
from atc.runs.settings import plain_settings

log = logging.getLogger(__name__)

METRIC = PUBLISHED["fid"]
SHEET = "contact_sheet.png"
ON_SHEET = 100  # images


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
    check_installed()
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    images = image_set(cfg)
    if cfg.shard is not None or not lock.is_first():
        if make_missing(cfg, images, wait=False) and not lock.is_first():
            return Record()
        if images.missing():
            log.info("%d of %d images are there; other processes make the rest", *counts(images))
            return Record()
    for last in (False, True):
        try:
            with lock.alone(cfg.output_dir):
                return _recorded(cfg, images)
        except lock.InUse as held:
            if last:  # it has all its images and scores them
                return Record()
            log.info("%s; this process makes images of the same run", str(held).partition(": ")[0])
            make_missing(cfg, images)
    raise AssertionError  # the loop returns


def _recorded(cfg: DictConfig, images: ImageSet) -> Record:
    known = record_file.RecordFile(Path(cfg.output_dir) / record_file.FILE, resume=True).record
    same = known.identity == identity.identity(cfg)  # else of another command with the same hydra.run.dir
    if same and known.status == "finished" and not images.missing():
        return _finished_before(cfg, known)
    made_in = computed_in(cfg)
    images.check(made_in)
    _check_reference(cfg)
    run = Run(cfg, _settings(cfg, images, made_in), _notices(cfg), resume=same and known.status != "finished")
    run.begin()
    with recorded(run):
        run.update(versions=provenance.versions(("diffusers", "transformers", "accelerate")))
        make_missing(cfg, images, run)
        images.tidy()
        _note(cfg, run, images)
        record = run.end("finished")
    log.info(_summary(record, images))
    return record


def _settings(cfg: DictConfig, images: ImageSet, made_in: dict[str, str]) -> dict[str, Any]:
    return {
        "identity": identity.identity(cfg),
        **{group: name for group, name in (cfg.choices or {}).items() if name is not None},
        "reduces": reduces(cfg),
        "score": METRIC.name,
        "metric": METRIC._asdict(),
        "seed": cfg.seed,
        "reader": None,
        "precision": made_in["precision"],
        "tf32": provenance.tf32(made_in["device"] == "cuda"),
        "pipeline": str(cfg.pipeline),
        "images_directory": str(images.directory),
    }


def _notices(cfg: DictConfig) -> list[str]:
    return [] if cfg.merging.every == 1 else [f"merging.every={cfg.merging.every} is ours, not of the papers"]


def _check_reference(cfg: DictConfig) -> None:
    """What could not be scored is refused before hours of generation."""
    if cfg.fid.reference is None:
        return
    from atc.diffusion.fid import networks
    from atc.diffusion.image_directory import images_in

    if len(images_in(cfg.fid.reference)) < 2:
        raise ValueError(f"fid.reference={cfg.fid.reference} holds one image: FID needs two at least")
    networks.network(cfg.fid.features, cfg.fid.weights)


def _note(cfg: DictConfig, run: Run, images: ImageSet) -> None:
    """Put into the record what the images took, and what they are worth."""
    about = images.about()
    seconds = [float(one["seconds"]) for one in about if isinstance(one.get("seconds"), int | float)]
    if seconds:
        spread = statistics.stdev(seconds) if len(seconds) > 1 else None
        run.note(seconds_per_image={"mean": statistics.fmean(seconds), "std": spread})
    tokens: list[tuple[str, str, int, int]] = next((one["tokens"] for one in about if one.get("tokens")), [])
    run.update(tokens_merged=[f"{name} {site}: {before} -> {after}" for name, site, before, after in tokens])
    with whole_file(run.directory / SHEET) as file:
        _contact_sheet(images).save(file, format="PNG")
    result: dict[str, float | None] = {"images": len(images.wanted), "images_of": len(images.wanted)}
    run.note(**{_evaluated(cfg): {**_scores(cfg, images), **result}})


def _evaluated(cfg: DictConfig) -> str:
    return "off_the_shelf" if reduces(cfg) else "dense"


def _scores(cfg: DictConfig, images: ImageSet) -> dict[str, float | None]:
    """FID and KID, and how far FID scatters; nothing without a reference."""
    if cfg.fid.reference is None:
        return {}
    from atc.diffusion.fid import compare

    given = {key: value for key, value in plain_settings(cfg.fid, resolve=True).items() if key != "reference"}
    found = compare(images.directory, cfg.fid.reference, device=cfg.device, **given)
    fid, kid = found["fid"], found["kid"]
    scattered = {key: fid[key]["std"] for key in ("seeds", "reference_subsets") if key in fid}
    return {
        METRIC.name: fid["value"],
        **{f"{METRIC.name}_std_{key}": value for key, value in scattered.items()},
        "kid": kid["value"],
        "kid_low": kid["low"],
        "kid_high": kid["high"],
    }


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
