"""The page of results in a real browser: it opens from disk, sorts, and has no complaint.

Runs where Chromium with its driver (Debian: chromium, chromium-driver) and selenium are installed.
"""

import shutil
from pathlib import Path

import pytest

from atc.report import layout, report, site
from tests.report.records import entry

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium: pip install selenium")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
if BROWSER is None or DRIVER is None:
    pytest.skip("the browser test needs Chromium and chromedriver on the PATH", allow_module_level=True)

from selenium.webdriver.chrome.service import Service  # noqa: E402

FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"


def test_sorts(tmp_path: Path) -> None:
    scores = {"tome": 0.7, "topk": 0.8, "random": 0.08}
    entries = [entry("deit_tiny_sample", score, reducer=name, keep_rate=0.5) for name, score in scores.items()]
    page = site.write([report.make(layout.load("deit_tiny_sample"), entries)], tmp_path)
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        browser.get(page.as_uri())
        head = browser.find_elements("css selector", "th button")[2]
        assert head.text == "keep_rate=0.5"

        def order() -> list[str]:
            return [row.text.split()[0] for row in browser.find_elements("css selector", "tbody tr")][:4]

        head.click()
        assert order() == ["topk", "tome", "random", "none"]
        head.click()
        assert order() == ["none", "random", "tome", "topk"]  # what was not run stays at the end
        browser.find_elements("css selector", "th button")[0].click()
        assert order() == ["atc_average", "atc_complete", "atc_single", "dpc_knn"]
        assert browser.get_log("browser") == []
        browser.save_screenshot(str(tmp_path / "page.png"))
    finally:
        browser.quit()
