"""The pages of methods and results, which docs/_extensions/pages generates, and the table of methods in the README."""

import json
import re
import sys
from pathlib import Path

import pytest

from atc.report.display_names import METHODS
from tests.tracked import ROOT

sys.path.append(str(ROOT / "docs" / "_extensions"))

import generated_pages
from pages import cost, golden, method_page, overview, result_page, results, table, writing
from pages.described import citation, described
from pages.formulas import formulas
from pages.kind import kind
from pages.method import Method, all_methods
from pages.prose import prose
from pages.sweep_head import head

EVERY = {method.name: method for method in all_methods()}
OWN = [method for name, method in EVERY.items() if name in METHODS]  # a method that somebody adds needs no more


def test_docstrings_are_taken_apart() -> None:
    text = """Merges.

    Two
    lines.

    Args:
        a: this,
            and more.
        b: that.

    Raises:
        ValueError: no.
    """
    found = described(text)
    assert (found.summary, found.text) == ("Merges.", "Two lines.")
    assert found.arguments == {"a": "this, and more.", "b": "that."}
    assert described(None).summary == ""


def test_citations_are_taken_apart() -> None:
    found = citation("ToMe (Bolya et al., ICLR 2023, arXiv 2210.09461): bipartite.\n\nMore.")
    assert (found.name, found.source, found.rest) == ("ToMe", "Bolya et al., ICLR 2023, arXiv 2210.09461", "bipartite")
    assert citation("Random pruning: the floor.").name == "Random pruning"


@pytest.mark.parametrize("method", OWN, ids=lambda method: method.name)
def test_every_method_says_where_it_is_from_and_what_its_options_are(method: Method) -> None:
    assert method.cited.source or method.name in ("none", "random")
    assert [option.name for option in method.options if not option.text] == []
    drawn = method_page.PICTURES / f"{method.name}.webp"
    assert drawn.is_file() == (method.cls.reduces and not method.cls.needs_training)
    assert not drawn.is_file() or drawn.stat().st_size < 40_000


def test_every_class_has_its_formula() -> None:
    assert set(formulas()) == {method.cls.__name__ for method in OWN if method.cited.source}


def test_what_methods_do_is_found_out() -> None:
    expected = {
        "atc_average": "merges",
        "atc_single_dynamic": "merges",
        "ats": "prunes",
        "diffrate": "prunes and merges",
        "evit": "prunes, fuses the rest",
        "none": "–",
        "sinkhorn": "merges softly",
        "svit": "skips blocks",
        "tome_2d": "merges",
    }
    assert {name: kind(EVERY[name]) for name in expected} == expected


def test_costs_are_those_that_runs_have_recorded() -> None:
    runs = json.loads((ROOT / "benchmarks" / "deit_tiny_sample.json").read_text())
    (run,) = [one for one in runs if one["reducer"] == "tome" and one["keep_rate"] == 0.5]
    found = cost.cost("tome", 0.5)
    assert found.gflops == pytest.approx(run["results"]["gflops"]["reduced"], rel=1e-6)
    assert found.tokens == (98, 49, 25)
    assert cost.cost("tome", 0.25).gflops is None
    assert cost.cost("radial_linf", 0.9).tokens == (196, 144, 144)
    assert "depends on the image" in cost.table(EVERY["svit"])


def test_golden_files_are_those_that_hold_the_method() -> None:
    every = list(EVERY.values())
    found = {name: golden.stored(EVERY[name], every) for name in ("tome", "tome_2d", "dhtm", "random", "radial_l1")}
    assert {"stages_merging.npz", "every_block.npz"} <= {one.file for one in found["tome"]}
    assert {one.file for one in found["tome_2d"]} == {"diffusion.npz", "diffusion_rates.npz"}
    assert [one.ours for one in found["dhtm"]] == [True]
    assert found["random"] == []
    assert [one.file for one in found["radial_l1"]] == ["stages_all_methods.npz"]
    assert all(one.tests for several in found.values() for one in several)


def test_the_page_of_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "RATES", (0.5,))
    shown = results.reports(names=["atc_table2_stable_diffusion", "shapes_all"])
    page = method_page.page(EVERY["atc_average"], list(EVERY.values()), shown.values())
    assert page.startswith("# ATC (average)\n\nMerges the closest clusters")
    assert "[arXiv 2409.11923](https://arxiv.org/abs/2409.11923)" in page
    assert "| `linkage` | `average` |" in page
    assert page.index("98.7 | 98.7") < page.index("## Published") < page.index("33.40")
    assert "With `as_released=true`: the authors' code computes distances in the autocast" in page
    headings = re.findall(r"^## (.+)$", page, re.M)
    assert headings[:4] == ["Formula", "On a photograph", "Options", "Cost"]
    assert "There is no picture" in method_page.page(EVERY["sit"], list(EVERY.values()), [])


def test_the_page_of_a_table_that_was_not_run() -> None:
    (report,) = results.reports(names=["atc_table2_stable_diffusion"]).values()
    page = result_page.page(report, ["atc_table2_stable_diffusion"])
    assert result_page.NOT_RUN in page
    assert "| none | 33.80 |" in page
    assert "```\npython -m atc.diffusion.generate --config-dir sweeps" in page
    assert "- Data: `imagenet`" in page
    assert "Not yet run; 25 runs" in page


def test_the_page_of_a_table_with_results() -> None:
    (report,) = results.reports(names=["shapes_all"]).values()
    page = result_page.page(report, ["shapes_all"])
    assert result_page.NOT_RUN not in page
    assert "| kmedoids | 98.4 | 98.6 | 98.6 | 98.7 |" in page
    assert "| [shapes_all](shapes_all.md) |" in overview.of_results({"shapes_all": report})


def test_every_sweep_file_says_how_it_is_run_and_shown() -> None:
    names = {path.stem for path in (ROOT / "sweeps").glob("*.yaml")}
    found = {name: head(ROOT / "sweeps" / f"{name}.yaml") for name in names}
    lacking = "a sweep file begins with a comment: what it is of, then Command: and Table: or Figure:, as the others do"
    assert [name for name, one in found.items() if not (one.about and one.shown_by())] == [], lacking
    assert [name for name, one in found.items() if not (one.commands() or one.remarks())] == [], lacking
    assert found["study_deit_tiny"].commands()[0].endswith("datamodule.root=DIRECTORY backbone.checkpoint=FILE")
    assert found["digits_curves"].remarks() == "Nothing else to run"


def test_text_of_sweep_files_becomes_markdown() -> None:
    text = "The runs of digits_all, by python -m atc.report digits_all; with t=8 in val/<class>"
    assert prose(text, ["digits_all"]) == (
        "The runs of [digits_all](digits_all.md), by `python -m atc.report digits_all`; with `t=8` in val/&lt;class&gt;"
    )


def test_pages_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = results.reports(names=["shapes_all", "digits_curves"])
    monkeypatch.setattr(writing, "reports", lambda: shown)
    monkeypatch.setattr(writing, "all_methods", lambda: [EVERY["none"]])
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "gone.md").write_text("# Of a method that is no more\n")
    pages = writing.write(tmp_path)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert files == [
        *("methods/index.md", "methods/none.md", "results/digits_curves.md"),
        *("results/digits_curves.svg", "results/index.md", "results/shapes_all.md"),
    ]
    before = {path: path.stat().st_mtime_ns for path in [*pages, tmp_path / "results" / "digits_curves.svg"]}
    writing.write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_table_of_methods_names_each_once() -> None:
    rows = table.table(OWN).splitlines()[2:]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(one.name for one in OWN)
    assert len(rows) == len({method.cls for method in OWN})


def test_the_readme_has_the_table_of_today() -> None:
    """Another one is written by `python docs/_extensions/generated_pages.py`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.replaced(readme, table.table(OWN)) == readme


def test_links_that_differ_on_the_site_are_there() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert [link for link in generated_pages.LINKS if link not in page] == []
    assert {link.strip("]()") for link in generated_pages.LINKS.values()} == {"generated/methods/index.md"}


def test_a_table_is_put_between_the_marks() -> None:
    page = f"a\n{table.BEGIN}\nold\n{table.END}\nb\n"
    assert table.replaced(page, "new") == f"a\n{table.BEGIN}\nnew\n{table.END}\nb\n"
    with pytest.raises(ValueError, match="there must be a line"):
        table.replaced("a\n", "new")
