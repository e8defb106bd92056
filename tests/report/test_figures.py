"""Curves, ranks and differences from records, and the page with everything."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from atc.report import figures, layout
from atc.report.__main__ import main
from atc.report.cells import Cell
from atc.report.tables import Table
from atc.runs.record import Record
from atc.runs.store import Store
from tests.report.records import Parts, parts, report_of

RATES = (0.25, 0.5, 0.7, 0.9)
# Mean accuracy of each method; single linkage falls behind, the others lead.
LEVEL = {"tome": 0.70, "kmedoids": 0.68, "dpc_knn": 0.66, "atc_single": 0.65, "atc_average": 0.74, "atc_complete": 0.73}


def fig4(backbones: tuple[str, ...] = ("deit_tiny", "deit_small", "deit_base")) -> list[Parts]:
    return [
        parts("atc_fig4_deit", level + 0.1 * rate, reducer=reducer, keep_rate=rate, backbone=backbone, datamodule=data)
        for backbone in backbones
        for data in ("imagenet", "nabirds", "coco", "nus_wide")
        for rate in RATES
        for reducer, level in LEVEL.items()
        if (reducer, rate) != ("tome", 0.25)
    ]


def test_mean_ranks() -> None:
    made = report_of(layout.load("atc_fig2_ranks"), fig4())
    assert made.table.texts(("atc_average",)) == ["1.0 ± 0.0"] * 5
    assert made.table.texts(("tome",))[1:] == ["–", *["3.0 ± 0.0"] * 3]
    assert made.table.texts(("atc_single",))[1:3] == ["5.0 ± 0.0", "6.0 ± 0.0"]
    assert any("48 of 48 groups complete" in note for note in made.table.notes)


def test_what_is_out_of_reach_is_not_yet_to_be_run() -> None:
    made = report_of(layout.load("atc_fig2_ranks"), [])
    assert made.table.texts(("tome",)) == ["not run", "–", *["not run"] * 3]
    assert made.table.texts(("dpc_knn",)) == ["not run"] * 5


def test_panels_of_other_axes_keep_their_ticks() -> None:
    """Each column of panels has its own values of t, also where nothing was run."""
    augreg = layout.load("ots_sweep_augreg")
    run = parts("ots_sweep_augreg", 0.8, reducer="tome", backbone="augreg_large", schedule="constant", t=5)
    drawn = figures.draw(augreg, *_shown(augreg, [run]))
    below = {axes.get_title(): sorted(axes.get_xticks()) for axes in drawn.axes}
    assert below["constant augreg_tiny"] == below["linear augreg_tiny"] == [*range(2, 17, 2)]
    assert below["linear augreg_large"] == [*range(1, 9)]
    assert below["constant augreg_large_384"] == [5, 10, 15, 20, 23]
    assert drawn.axes[0].get_xlim()[1] < 18


def test_the_legend_of_bars_lies_outside() -> None:
    ranks = layout.load("atc_fig2_ranks")
    drawn = figures.draw(ranks, *_shown(ranks, fig4()))
    drawn.draw_without_rendering()
    (legend,) = drawn.legends
    assert drawn.axes[0].get_legend() is None
    assert [text.get_text() for text in legend.get_texts()] == list(LEVEL)
    assert not legend.get_window_extent().overlaps(drawn.axes[0].get_window_extent())


def _shown(of: layout.Layout, records: list[Parts]) -> tuple[list[Cell], Table]:
    made = report_of(of, records)
    return made.cells, made.table


def test_a_group_with_a_gap_has_no_ranks() -> None:
    records = [one for one in fig4() if (one["reducer"], one["keep_rate"]) != ("dpc_knn", 0.9)]
    made = report_of(layout.load("atc_fig2_ranks"), records)
    assert made.table.texts(("atc_average",))[-1] == "not run"
    assert any("36 of 48 groups complete" in note for note in made.table.notes)


def test_differences_to_the_best_earlier_method() -> None:
    made = report_of(layout.load("atc_fig3_differences"), fig4())
    assert [row[0] for row in made.table.rows] == ["atc_single", "atc_average", "atc_complete"]
    assert made.table.texts(("atc_average",)) == ["6.0 ± 0.0", "4.0 ± 0.0", "4.0 ± 0.0", "4.0 ± 0.0"]
    assert made.table.texts(("atc_single",))[1] == "-5.0 ± 0.0"


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("atc_fig4_deit", fig4(("deit_tiny",))),
        ("atc_fig2_ranks", []),
        ("atc_fig2_ranks", fig4()),
        ("atc_fig3_differences", fig4()),
    ],
)
def test_drawn(tmp_path: Path, name: str, records: list[Parts]) -> None:
    files = report_of(layout.load(name), records).write(tmp_path)
    assert {file.suffix for file in files} == {".md", ".tex", ".csv", ".json", ".png", ".svg", ".pdf"}
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert len(picture.convert("L").getcolors()) > 10
    text = (tmp_path / f"{name}.svg").read_text()
    assert ("not yet run" in text) is (not records or name == "atc_fig4_deit")
    assert ("atc_average" in text) is bool(records or name == "atc_fig4_deit")


def test_one_page(tmp_path: Path) -> None:
    """The page needs nothing but itself, and shows what was not run as such."""
    sweeps = tmp_path / "sweeps"
    sweeps.mkdir()
    for name in ("digits_all", "digits_curves", "atc_fig4_deit"):
        shutil.copy(layout.sweeps_dir() / f"{name}.yaml", sweeps)
    Store(tmp_path / "store").append(Record.read(parts("digits_all", 0.9, reducer="tome", keep_rate=0.5)))
    stores = ["--store", str(tmp_path / "store"), "--sweeps", str(sweeps)]
    assert main(["--all", str(tmp_path / "site"), *stores]) == 0
    assert [file.name for file in (tmp_path / "site").iterdir()] == ["index.html"]
    page = (tmp_path / "site" / "index.html").read_text()
    assert '<section id="digits_all">' in page
    assert page.count("<svg") == 1  # none for what was not run
    first, folded = page.split("<details")
    assert '<section id="digits_curves">' in first
    assert "Not run: 1 of 3 tables" in folded
    assert '<section id="atc_fig4_deit">' in folded
    assert "90.0" in page
    assert "not run" in page
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    identifiers = re.findall(r'<clipPath id="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
