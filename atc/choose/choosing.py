"""From the settings of conf/choose.yaml to the choice, its picture and its record."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from atc import provenance
from atc.choose import front, settings
from atc.choose.measures import Comparison, GFLOPs, Latency
from atc.choose.search import Search, Tried
from atc.config import build
from atc.diffusion.pipelines import device_of
from atc.files import write_json
from atc.run import unlabelled
from atc.vit.host import host_of
from atc.vit.images import data_config

log = logging.getLogger(__name__)

ROWS = 10  # of the table
MOST_IMAGES = 256  # to choose on, and to check on, where nothing else is said


@dataclass
class Choice:
    """What was chosen, and how well it does on images that the choice has not seen.

    Attributes:
        tried: what was chosen.
        checked: by method, its agreement on the images for checking, a share.
        command: the line that evaluates it.
        files: the picture and the record.
    """

    tried: Tried
    checked: dict[str, float]
    command: str
    files: list[Path]


def choose(cfg: DictConfig, others: Sequence[str]) -> Choice:
    """Search, and write the picture and the record; the record also when the search is interrupted.

    Args:
        cfg: conf/choose.yaml, checked.
        others: settings of the command line that the printed command needs too.

    Raises:
        ValueError: no method fits the budget, or there are too few images; one line.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    device = device_of(cfg.device)
    vit: Any = build.instantiate(cfg.backbone).eval()
    images = _images(cfg, vit)
    vit.to(device)
    name = str(cfg.choices.get("backbone", "backbone"))
    picture = settings.output(cfg, name)
    batch = images[: cfg.batch_size].to(device)
    share = GFLOPs(vit, batch) if cfg.cost == "gflops" else Latency(vit, batch, cfg.seconds)
    host = host_of(getattr(vit, "model", vit))
    search = Search(
        Comparison(vit, images, cfg.choose_on, cfg.batch_size, cfg.seed), share, len(host.blocks), host.num_patches
    )
    record = picture.with_suffix(".json")
    try:
        _search(cfg, search)
    finally:
        if search.tried:
            write_json(record, _record(cfg, search))
    best = search.best(cfg.budget)
    if not best:
        reasons = next(iter(search.left_out.items()), ("", ""))
        raise ValueError(f"budget={cfg.budget}: no method fits, such as {reasons[0]}: {reasons[1]}")
    checked = {one.candidate.reducer: search.comparison.agreement(one.candidate, "check").top1 for one in best[:ROWS]}
    chosen = best[0]
    command = chosen.candidate.command(others)
    write_json(record, _record(cfg, search) | {"checked": checked, "command": command})
    named = [one.candidate.reducer for one in best[: max(cfg.best, 1)]]
    front.save(front.draw(search, chosen, cfg.cost, named), picture)
    _show(cfg, best, checked, name)
    return Choice(chosen, checked, command, [picture, record])


def _images(cfg: DictConfig, vit: Any) -> Tensor:
    """Those to choose on, then those to check on."""
    data = data_config(vit)
    if cfg.images is not None:
        every: Any = unlabelled.of_folder(str(cfg.images), data)
    else:
        every = unlabelled.of_data_set(build.instantiate(cfg.datamodule), cfg.part, data)
    for key in ("choose_on", "check_on"):
        cfg[key] = cfg[key] or max(1, min(MOST_IMAGES, len(every) // 2))
    count = cfg.choose_on + cfg.check_on
    if len(every) < count:
        asked = f"choose_on={cfg.choose_on} and check_on={cfg.check_on}"
        raise ValueError(f"{asked} are {count} images, and there are {len(every)}")
    some: Any = unlabelled.drawn(every, count, cfg.seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(cfg.seed)).tolist()
    return torch.stack([unlabelled.alone(some[index]) for index in order])


def _search(cfg: DictConfig, search: Search) -> None:
    search.grid(settings.reducers(cfg), list(cfg.schedules), list(cfg.blocks), cfg.budget)
    for one in search.best(cfg.budget, cfg.best) if cfg.trials else []:
        search.per_block(one.candidate.reducer, len(cfg.blocks), cfg.budget, cfg.trials, cfg.seed)
    for one in search.best(cfg.budget, cfg.best):
        search.along(one, [budget for budget in cfg.front if budget != cfg.budget])


def _record(cfg: DictConfig, search: Search) -> dict[str, Any]:
    rows = [
        {
            "settings": one.candidate.settings(),
            "budget": one.budget,
            "cost": one.cost,
            "agreement": one.agreement.top1,
            "divergence": -one.agreement.divergence,
            "found": one.found,
        }
        for one in search.tried
    ]
    return {
        "backbone": cfg.choices.get("backbone"),
        "images": str(cfg.images or cfg.choices.get("datamodule")),
        "cost": cfg.cost,
        "budget": cfg.budget,
        "choose_on": cfg.choose_on,
        "check_on": cfg.check_on,
        "seed": cfg.seed,
        "tried": rows,
        "left_out": search.left_out,
        "made_with": provenance.origin(),
    }


def _show(cfg: DictConfig, best: Sequence[Tried], checked: dict[str, float], backbone: str) -> None:
    table = Table(title=f"{backbone}: the best of each method within {cfg.budget:g} of the {front.COST[cfg.cost]}")
    table.add_column("settings")
    for heading in ("cost", f"agreement on {cfg.choose_on}, %", f"on {cfg.check_on} others, %"):
        table.add_column(heading, justify="right")
    for one in best[:ROWS]:
        held = 100 * checked[one.candidate.reducer]
        table.add_row(str(one.candidate), f"{one.cost:.3f}", f"{100 * one.agreement.top1:.2f}", f"{held:.2f}")
    Console().print(table)
