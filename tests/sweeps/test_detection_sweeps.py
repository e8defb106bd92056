"""From a detector to its table in miniature: the two sweeps of drawn scenes, their own files, on four scenes."""

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from atc import run
from atc.config.combinations import chosen_options
from atc.report import layout, report
from atc.runs.record import Record
from atc.runs.store import Store
from tests.sweeps.test_files import _search_path, composed  # noqa: F401 - a fixture of every test here

pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[detection]'")
ALL, OTS = "shapes_detection_all", "shapes_detection_ots"
SMALL = [
    *("datamodule.size=64", "datamodule.test=4", "datamodule.eval_batch_size=2", "backbone.img_size=64"),
    *("backbone.embed_dim=24", "backbone.num_heads=2", "task.detector.conv_inplane=8", "task.detector.deform_heads=2"),
    *("task.detector.fpn_channels=16", "task.detector.head_channels=16", "task.detector.mask_channels=8"),
    *("task.detector.proposals=20", "task.detector.samples=16", "trainer.accelerator=cpu", "benchmark.batch_size=1"),
    *("benchmark.seconds=0",),
]
TRAINED = ["datamodule.train=4", "datamodule.val=2", "datamodule.batch_size=2"]


def small(name: str, here: Path, *overrides: str) -> DictConfig:
    """What the sweep's command runs for a point, in a directory of its own, with less of everything."""
    place = here / "_".join([name, *(one.replace("/", "") for one in overrides if "checkpoint" not in one)])
    OmegaConf.register_new_resolver("run_dir", lambda *_: str(place), replace=True)
    cfg = composed(name, *SMALL, *(TRAINED if name == ALL else ()), f"paths.store='{here / 'store'}'", *overrides)
    with open_dict(cfg):
        cfg.output_dir, cfg.choices = str(place), chosen_options(cfg.hydra.runtime)
        del cfg["hydra"]
    return cfg


@pytest.mark.slow
def test_off_the_shelf_and_fine_tuned(tmp_path: Path) -> None:
    first = small(ALL, tmp_path, "reducer=none", "sweep=null", "baselines=false")
    assert run.train(first).status == "finished"
    start = f"task.checkpoint='{first.output_dir}'"
    points = [("none",), ("atc_average", "keep_rate=0.25")]
    evaluated = {
        reducer: run.evaluate(small(OTS, tmp_path, start, f"reducer={reducer}", *more)) for reducer, *more in points
    }
    tuned = run.train(small(ALL, tmp_path, start, "reducer=atc_average", "keep_rate=0.25"))
    made = report.build_report(layout.load(ALL), Store(tmp_path / "store").records())
    found = {
        (cell.where["setting"], cell.where["reducer"], cell.where["metric"]): cell
        for cell in made.cells
        if cell.state == "measured"
    }
    assert len(found) == 2 * 3
    expected: dict[tuple[str, str], tuple[Record, str]] = {
        ("no_reduction", "none"): (evaluated["none"], "dense"),
        ("off_the_shelf", "atc_average"): (evaluated["atc_average"], "off_the_shelf"),
        ("fine_tuned", "atc_average"): (tuned, "fine_tuned"),
    }
    for (setting, reducer), (record, result) in expected.items():
        for metric in ("map_box", "map_mask"):
            cell = found[setting, reducer, metric]
            assert cell.mean == pytest.approx(100 * (record.result(result) or {})[metric])
            assert not cell.remarks, cell
    assert len({record.config["task"]["checkpoint"] for record in made.cells[0].records}) == 1
    assert all("/" not in str(record["config"]["task"]["checkpoint"]) for record in made.records())
    (line,) = [line for line in made.text().splitlines() if line.startswith("fine tuned") and "atc_single" in line]
    assert line.count("not run") == 2 * 3
