"""The page of depth maps in a real browser."""

import json

import pytest

from atc.study.page import write_page

pytest.importorskip("selenium", reason="needs selenium: pip install -e .[browser]")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import Select


def run(method: str, rate: float | None, mean: float, data_set: str = "digits") -> dict:
    maps = {"mean": [[mean, 3.0], [12.0, 6.5]], "std": [[0.0, 0.5], [1.0, 2.0]]}
    about = {"method": method, "keep_rate": rate, "capacity": "tiny", "data_set": data_set, "images": 9, "depth": 12}
    return {**about, **maps, "kept": method != "tome", "blocks": [4, 7], "rates": [[0.5, 0.0], [0.25, 0.0]]}


@pytest.fixture
def opened(browser, tmp_path):
    runs = [run("topk", rate, rate * 10) for rate in (0.5, 0.9)]
    runs += [run("</script><b>", 0.5, 4.0), run("tome", 0.5, 12.0), run("none", None, 12.0), run("topk", 0.9, 9.5, "b")]
    browser.get(write_page(runs, tmp_path / "page.html").as_uri())
    yield browser
    assert browser.get_log("browser") == [], "the console must stay empty"


def test_methods_stand_below_and_keep_rates_beside_each_other(opened):
    heads = [head.text for head in opened.find_elements("css selector", "thead th")]
    assert heads == ["", "90 %", "50 %"]
    assert [head.text for head in opened.find_elements("css selector", "tbody th")] == ["topk", "</script><b>"]
    assert len(opened.find_elements("css selector", "#maps canvas")) == 3
    assert "left at 4: 50 %, 7: 25 %" in opened.find_element("id", "maps").text


def test_a_patch_is_said_and_marked_everywhere(opened):
    maps = opened.find_elements("css selector", "#maps canvas")
    ActionChains(opened).move_to_element_with_offset(maps[0], -20, -20).perform()
    assert opened.find_element("id", "said").text == "topk at 90 %, row 1, column 1: 9.00 ± 0.00 blocks"
    maps[1].send_keys(Keys.ARROW_DOWN)
    assert opened.find_element("id", "said").text == "topk at 50 %, row 2, column 1: 12.00 ± 1.00 blocks"
    every, pixel = "[...document.querySelectorAll('#maps canvas')]", "getContext('2d').getImageData(1, 13, 1, 1).data"
    assert opened.execute_script(f"return {every}.map(map => [...map.{pixel}])") == [[255, 51, 51, 255]] * 3


def test_data_sets_and_deviations_can_be_chosen(opened):
    Select(opened.find_element("id", "data_set")).select_by_visible_text("b")
    assert len(opened.find_elements("css selector", "#maps canvas")) == 1
    assert opened.find_element("id", "low").text == "3.0"
    Select(opened.find_element("id", "part")).select_by_visible_text("standard deviation")
    assert [opened.find_element("id", name).text for name in ("low", "high")] == ["0.0", "2.0"]


def test_it_loads_nothing(tmp_path):
    text = write_page([], tmp_path / "page.html").read_text()
    assert "http" not in text
    assert json.loads(text.partition("const runs = ")[2].partition(";\n")[0]) == []
