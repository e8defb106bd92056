"""How often a configuration's trip through `train` crosses from one room of `atc` into another.

    python benchmarks/room_crossings.py                   of this checkout
    python benchmarks/room_crossings.py --root ELSEWHERE  of another one, such as an older commit's
    python benchmarks/room_crossings.py --sites           also lists the places

A room is a top-level package or module of `atc`. Counted are places in the code, not how often they run (that is
a matter of batches): calls of a function of another room, straight from code of `atc`, in a training of one
epoch on the digits. `of_the_configuration` are those that hand over the configuration or a part of it, which is
its trip.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SETTINGS = (
    "trainer.max_epochs=1",
    "optimizer.warmup_epochs=0",
    "trainer.limit_train_batches=1",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.accelerator=cpu",
    "benchmark.seconds=0.02",
    "datamodule.num_workers=0",
    "~callbacks.progress",
    "+trainer.enable_progress_bar=false",
)
Site = tuple[str, str, str]  # room and line that call, room, function that is called


class Crossings:
    """A profile function that notes calls from one room into another.

    Attributes:
        sites: by place, how many calls there were.
        configured: the places that hand over the configuration or a part of it.
    """

    def __init__(self, root: Path):
        self.folder = f"{root / 'atc'}{os.sep}"
        self.sites: Counter[Site] = Counter()
        self.configured: set[Site] = set()
        self._places: dict[CodeType, str | None] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call, as `sys.setprofile` reports it."""
        if event != "call" or frame.f_back is None or frame.f_code.co_name == "<module>":
            return
        here = self.room(frame.f_code)
        there = self.room(frame.f_back.f_code) if here else None
        if here and there and here != there:
            caller = f"{frame.f_back.f_code.co_filename.removeprefix(self.folder)}:{frame.f_back.f_lineno}"
            site = (there, caller, f"{here}.{frame.f_code.co_qualname}")
            self.sites[site] += 1
            if any(type(value).__name__ == "DictConfig" for value in frame.f_locals.values()):  # its arguments
                self.configured.add(site)

    def room(self, code: CodeType) -> str | None:
        """The room that a function stands in; None for one of a library."""
        if code not in self._places:
            inside = code.co_filename.startswith(self.folder)
            name = code.co_filename.removeprefix(self.folder).split(os.sep)[0].removesuffix(".py")
            self._places[code] = name if inside else None
        return self._places[code]


def counted(root: Path) -> Crossings:
    """The crossings of a training with the code of a checkout."""
    sys.path.insert(0, str(root))
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf, open_dict

    from atc import run

    with tempfile.TemporaryDirectory() as folder:
        OmegaConf.register_new_resolver("run_dir", lambda *_: folder, replace=True)
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            cfg = compose("train", [*SETTINGS, f"paths.store={folder}/store"], return_hydra_config=True)
            names = {key: value for key, value in cfg.hydra.runtime.choices.items() if "hydra" not in key}
        with open_dict(cfg):
            del cfg["hydra"]
            cfg.output_dir, cfg.choices = folder, {key: value for key, value in names.items() if "@" not in key}
        found = Crossings(root)
        sys.setprofile(found)
        try:
            run.train(cfg)
        finally:
            sys.setprofile(None)
    return found


def main() -> None:
    """Print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="a checkout")
    parser.add_argument("--sites", action="store_true", help="also list the places")
    given = parser.parse_args()
    found = counted(given.root.resolve())
    pairs = {(source, called.split(".")[0]) for source, _, called in found.sites}
    counts = {
        "of_the_configuration": len(found.configured),
        "places": len(found.sites),
        "calls": sum(found.sites.values()),
        "pairs_of_rooms": len(pairs),
    }
    print(json.dumps(counts))
    for site, calls in sorted(found.sites.items()) if given.sites else ():
        _, caller, called = site
        print(f"{calls:6} {'cfg' if site in found.configured else '   '} {caller} -> {called}")


if __name__ == "__main__":
    main()
