"""Text from records and sweep files is shown in every format, and acts in none."""

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from omegaconf import OmegaConf

from atc.report import escape, layout, report, site, tables
from atc.report.cells import Cell
from tests.report.records import Parts, parts, report_of

WILD = [
    "x\n\\immediate\\write18{touch /tmp/owned}",
    "</textarea><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![a](https://example.org/pixel.png) [b](javascript:alert(1))",
    "\x1b[2J\x1b]0;title\x07 red",
    '=HYPERLINK("https://example.org")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "a|b\\|c",
    "$\\frac{1}$ and $x",
    "[red]bold[/red] :smile:",
    "right\u202eleft\u2028next\x85line\x00",
    "not UTF-8 \udcff",
    "[4,7,10]",
    "_hidden",
]


def sweep(tmp_path: Path, kind: str = "table") -> layout.Layout:
    section = {"title": WILD[1] + WILD[4], "kind": kind, "settings": ["off_the_shelf"], "notes": [*WILD]}
    section |= {"rows": ["backbone"], "columns": ["keep_rate"]}
    grids = [{"reducer": "topk", "backbone": [*WILD], "keep_rate": [0.5, 0.25]}]
    text = OmegaConf.to_yaml({"report": section, "hydra": {"sweeper": {"grids": grids}}})
    (tmp_path / "wild.yaml").write_text(text.replace("\udcff", "?"))
    return layout.load("wild", tmp_path)


def wild_records(of: layout.Layout) -> list[Parts]:
    found = []
    for number, point in enumerate(of.points):
        said = {"commit": WILD[number % len(WILD)], "versions": {"torch": WILD[0], "timm": WILD[4]}}
        found.append(parts("wild", 0.5, **point) | said | {"identity": f"{number}"})
        found[-1]["config"] = {"threads": WILD[number % len(WILD)]} if number % 3 == 0 else {}
        found[-1]["machine"] = {"gpus": [WILD[1]]}
    return found


@pytest.fixture
def made(tmp_path: Path) -> report.Report:
    of = sweep(tmp_path)
    found = report_of(of, wild_records(of))
    assert found.table.letters
    assert any(cell.values for cell in found.cells)
    return found


def test_latex(made: report.Report) -> None:
    text = tables.latex(made.table)
    own = r"\\(?:multicolumn|begin|end|toprule|midrule|bottomrule|pm|Delta|text[a-z]+\{\}|[&%$#_{}]|\\)"
    assert not re.findall(r"\\[a-z]+", re.sub(own, "", text))
    assert not any(line.lstrip().startswith("[") for line in text.splitlines())  # an argument of the row before
    assert sum(line.startswith("%") for line in text.splitlines()) == len(made.table.notes)
    assert [
        line for line in text.splitlines() if "write18" in line and not line.startswith(("%", "x\\textbackslash"))
    ] == []


def test_markdown(made: report.Report) -> None:
    text = tables.markdown(made.table)
    assert not re.search(r"<(?!/?[ =])", text)
    assert "](" not in text
    assert len({re.sub(r"\\.", "", line).count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert len([line for line in text.splitlines() if line.startswith("- ")]) == len(made.table.notes)


def test_csv(made: report.Report) -> None:
    rows = list(csv.reader(io.StringIO(made.csv())))
    assert len({len(row) for row in rows}) == 1
    assert not any(re.match(r"[=+@\t\r]|-[^\d.]", cell) for row in rows for cell in row)
    assert escape.csv("-1") == "-1"
    assert escape.csv("-1+1") == "'-1+1"


def test_terminal(made: report.Report) -> None:
    text = made.text()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[red]bold[/red] :smile:" in text
    assert "\\x1b[2J" in text


def test_page(made: report.Report, tmp_path: Path) -> None:
    page = site.write_site([made], tmp_path).read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "\x1b" not in page


@pytest.mark.filterwarnings("ignore:.*[Gg]lyph")
def test_pictures(tmp_path: Path) -> None:
    of = sweep(tmp_path, "curves")
    found = report_of(of, wild_records(of)[:4])
    text = found.svg()
    assert text is not None
    tree = ElementTree.fromstring(text)
    assert not [node for node in tree.iter() if node.tag.rpartition("}")[2] in ("script", "image", "a")]
    assert "$\\frac{1}$" in text
    assert {file.suffix for file in found.write(tmp_path / "out")} == {
        ".md",
        ".tex",
        ".csv",
        ".json",
        ".png",
        ".svg",
        ".pdf",
    }


def test_open_markers_for_marked_cells(tmp_path: Path) -> None:
    from atc.report import figures

    of = sweep(tmp_path, "curves")
    found = report_of(of, wild_records(of))
    marked = [cell for cell in found.cells if cell.remarks]
    drawn = figures.draw(of, found.cells, found.table)
    lines = [line for axes in drawn.axes for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert sum(len(line.get_xdata()) for line in lines) == len(
        [cell for cell in marked if cell.where["setting"] == "off_the_shelf"]
    )


def test_files_are_written_whole_or_not_at_all(
    made: report.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*wild\.md"):
        made.write(tmp_path / "out")
    with pytest.raises(OSError, match=r"index\.html"):
        site.write_site([made], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_letters_go_on_after_z() -> None:
    cell = Cell(
        {"setting": "off_the_shelf", "reducer": "topk"}, [50.0], "measured", remarks=[f"{n}" for n in range(28)]
    )
    of = layout.Layout("x", "X", "table", ("x",), ("off_the_shelf",), ("reducer",), (), (), (), ())
    assert list(tables.arrange(of, [cell]).letters.values())[-3:] == ["z", "aa", "ab"]
