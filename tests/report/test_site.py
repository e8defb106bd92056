"""The page of results in a real browser: it opens from disk, sorts, and has no complaint."""

from pathlib import Path
from typing import Any

from atc.report import layout, site
from tests.report.records import parts, report_of


def test_sorts(browser: Any, tmp_path: Path) -> None:
    scores = {"tome": 0.7, "topk": 0.8, "random": 0.08}
    records = [parts("deit_tiny_sample", score, reducer=name, keep_rate=0.5) for name, score in scores.items()]
    browser.get(site.write_site([report_of(layout.load("deit_tiny_sample"), records)], tmp_path).as_uri())
    head = browser.find_elements("css selector", "th button")[2]
    assert head.text == "keep_rate=0.5"

    def order() -> list[str]:
        return [row.text.split()[0] for row in browser.find_elements("css selector", "tbody tr")][:4]

    head.click()
    assert order() == ["topk", "tome", "random", "none"]
    head.click()
    assert order() == ["none", "random", "tome", "topk"]  # what was not run stays at the end
    browser.find_elements("css selector", "th button")[0].click()
    assert order() == ["atc_average", "atc_complete", "atc_single", "ats"]
    assert browser.get_log("browser") == []
    browser.save_screenshot(str(tmp_path / "page.png"))
