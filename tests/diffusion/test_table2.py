"""From a pipeline to Table 2 and Figure 6, offline: images, FID against a tiny reference, the table, the picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atc import run
from atc.report import __main__ as command
from atc.report import layout, report
from atc.runs.record import Record
from atc.runs.store import Store
from tests.diffusion.generating import composed

pytest.importorskip("diffusers")
SWEEP, FIGURE = "atc_table2_stable_diffusion", "atc_fig6_stable_diffusion"
RATES = (0.9, 0.6, 0.4)


def reference(here: Path) -> Path:
    """Twelve pictures of noise."""
    directory = here / "reference"
    directory.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(directory / f"{number}.png")
    return directory


def generated(here: Path, classes: int, steps: int, points: list[tuple[str, float]]) -> list[Record]:
    """The runs of a part of the sweep, one after another."""
    settings = [
        f"+sweep={SWEEP}",
        f"classes={list(range(classes))}".replace(" ", ""),
        f"sampling.steps={steps}",
        f"fid.reference='{here / 'reference'}'",
        "fid.features=random",
        "fid.reference_subsets=3",
        "device=cpu",
    ]
    return [
        run.generate(composed(here, *settings, f"reducer={reducer}", f"keep_rate={rate}")) for reducer, rate in points
    ]


def shown(here: Path, name: str) -> report.Report:
    return report.build_report(layout.load(name), Store(here / "runs" / "store").records())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    reference(tmp_path)
    return tmp_path


def test_two_methods_on_two_classes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = generated(here, 2, 1, [("none", 0.5), ("tome_2d", 0.4)])
    assert [record.status for record in records] == ["finished"] * 2
    scores = [record.result(name) or {} for record, name in zip(records, ("dense", "off_the_shelf"), strict=True)]
    assert all(one["fid"] > 0 and one["images"] == 2 and one["kid_low"] <= one["kid_high"] for one in scores)
    assert command.main([SWEEP, FIGURE]) == 0
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("tome_2d"))
    assert f"{scores[1]['fid']:.2f} | 33.67" in row
    assert row.count("not run") == 5
    baseline = next(line for line in said.splitlines() if line.startswith("none"))
    assert baseline.count(f"{scores[0]['fid']:.2f} | 33.80") == 6
    assert "[a]" not in said, said
    assert "the standard deviation is" in said
    assert (here / "reports" / f"{FIGURE}.png").is_file()
    assert command.main([FIGURE, "image=1_0.png", "--output", "other"]) == 0
    first, other = (Image.open(here / place / f"{FIGURE}.png") for place in ("reports", "other"))
    assert first.size == other.size
    assert first.tobytes() != other.tobytes()


def test_a_reference_that_comes_later_costs_no_image(here: Path) -> None:
    point = ["classes=[0,1]", "sampling.steps=1", "reducer=tome_2d"]
    first = run.generate(composed(here, *point))
    assert "fid" not in (first.result("off_the_shelf") or {})
    images = {path: path.stat().st_mtime_ns for path in (here / "runs" / "images").glob("*/*.png")}
    scored = run.generate(
        composed(
            here, *point, f"fid.reference='{here / 'reference'}'", "fid.features=random", "fid.reference_subsets=1"
        )
    )
    assert (scored.result("off_the_shelf") or {})["fid"] > 0
    assert {path: path.stat().st_mtime_ns for path in (here / "runs" / "images").glob("*/*.png")} == images


def test_without_weights_nothing_is_generated(here: Path) -> None:
    cfg = composed(here, f"fid.reference='{here / 'reference'}'", "fid.weights=nowhere.pth")
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth"):
        run.generate(cfg)
    assert not list((here / "runs").rglob("*.png"))


@pytest.mark.slow
def test_three_keep_rates_on_ten_classes(here: Path) -> None:
    """Ten classes, one image each, four steps: the grid of `tome_2d` and average linkage, and the dense run."""
    points = [("none", 1.0), *((reducer, rate) for reducer in ("tome_2d", "atc_average") for rate in RATES)]
    records = generated(here, 10, 4, points)
    assert len({(record.result("off_the_shelf") or record.result("dense") or {})["fid"] for record in records}) == 7
    table = shown(here, SWEEP)
    measured = [cell for cell in table.cells if cell.state == "measured"]
    assert len(measured) == 7
    assert all(cell.published and not cell.remarks for cell in measured)
    names = {path.name for path in shown(here, FIGURE).write(here / "reports")}
    assert {f"{FIGURE}.png", f"{FIGURE}.svg", f"{FIGURE}.csv"} <= names
