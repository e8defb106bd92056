"""The interactive page in a real browser: point, switch, slide, and no complaint in its console.

Runs where Chromium with its driver (Debian: chromium, chromium-driver) and selenium are installed.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import atc
from atc.pictures import order, page
from atc.pictures.methods import Method
from atc.pictures.photo import Photo
from tests import golden

pytest.importorskip("selenium", reason="needs selenium: pip install -e .[browser]")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

NAMES, RATES = ("atc_average", "atc_complete", "topk"), (0.25, 0.5)


@pytest.fixture(scope="module")
def histories():
    vit, seen = golden.vit(dtype=torch.float32), golden.images(torch.float32)[3:4]
    models = {(name, rate): atc.wrap(vit, name, rate) for name in NAMES for rate in RATES}
    return {key: (model, order.histories(model, seen)[0]) for key, model in models.items()}


@pytest.fixture(scope="module")
def shown(browser, tmp_path_factory, histories):
    file = tmp_path_factory.mktemp("page") / "page.html"
    photo = Photo("cat", golden.outputs("backbone")["images"][3], golden.images(torch.float32)[3:4])
    methods = [Method(name, f"keep rate {rate}", model) for (name, rate), (model, _) in histories.items()]
    file.write_text(page.render(photo, methods, "keep rate 0.5"), encoding="utf-8")
    browser.get(file.as_uri())
    return browser


@pytest.fixture
def opened(shown):
    shown.refresh()
    yield shown
    assert shown.get_log("browser") == [], "the console must stay empty"


def text(browser, name: str) -> str:
    return browser.find_element("id", name).text


def choose(browser, name: str, option: str) -> None:
    Select(browser.find_element("id", name)).select_by_visible_text(option)


def pixels(browser, name: str = "current") -> np.ndarray:
    with Image.open(io.BytesIO(browser.find_element("id", name).screenshot_as_png)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def shown_leaders(browser) -> list[int]:
    return browser.execute_script("return Array.from(leadersAfter(state.run, state.step))")


def test_it_opens_on_the_last_stage_of_the_setting_asked_for(opened):
    assert text(opened, "count") == "24 tokens"
    assert text(opened, "where") == "Step 172 of 172: end of stage 3, block 10"
    captions = [caption.text for caption in opened.find_elements("css selector", "figcaption")]
    assert captions == ["Input: 196 patches", "Stage 1: 98 tokens", "Stage 2: 49 tokens", "Stage 3: 24 tokens"]
    assert (
        opened.execute_script("return performance.getEntriesByType('resource').filter((e) => /^http/.test(e.name))")
        == []
    )
    for canvas in opened.find_elements("tag name", "canvas"):
        with Image.open(io.BytesIO(canvas.screenshot_as_png)) as picture:
            assert np.asarray(picture).std() > 10, "a blank canvas"


def test_pointing_at_a_patch_shows_its_token_at_every_stage(opened, histories):
    before = pixels(opened)
    canvas = opened.find_element("id", "current")
    cell = canvas.size["width"] / 14
    ActionChains(opened).move_to_element_with_offset(canvas, int(-1.5 * cell), int(-2.5 * cell)).perform()
    patch = 4 * 14 + 5
    _, history = histories["atc_average", 0.5]
    lines = text(opened, "patch").split("\n")
    assert lines[0].startswith("Patch in row 5, column 6:")
    for line, mark in zip(lines[1:], history.stages, strict=True):
        leader = order.leaders(history, mark.steps)
        members = int((leader == leader[patch]).sum())
        assert line.endswith("a token of its own" if members == 1 else f"one of {members} patches in its token")
    after = pixels(opened)
    inside = order.leaders(history, 172)
    for other in range(196):
        middle = tuple(int((place + 0.5) * cell) for place in divmod(other, 14))
        kept = np.abs(before[middle] - after[middle]).max() <= 2
        assert kept == (inside[other] == inside[patch]), f"patch {other}: others are darkened, members are not"
    ActionChains(opened).move_to_element(opened.find_element("tag name", "h1")).perform()
    assert text(opened, "patch") == ""


def test_switching_reducer_linkage_setting_and_stage(opened, histories):
    choose(opened, "linkage", "complete")
    assert text(opened, "count") == "24 tokens"
    assert shown_leaders(opened) == order.leaders(histories["atc_complete", 0.5][1], 172).tolist()
    choose(opened, "setting", "keep rate 0.25")
    assert text(opened, "count") == "3 tokens"
    choose(opened, "reducer", "topk")
    assert not opened.find_element("id", "linkages").is_displayed()
    for number, (tokens, steps) in enumerate([(196, 0), (49, 147), (12, 184), (3, 193)]):
        opened.find_elements("css selector", "#stages button")[number].click()
        assert text(opened, "count") == f"{tokens} tokens"
        assert shown_leaders(opened) == order.leaders(histories["topk", 0.25][1], steps).tolist()
    choose(opened, "reducer", "atc")
    assert text(opened, "where") == "Step 193 of 193: end of stage 3, block 10"


def test_every_look_is_another_picture(opened):
    looks = []
    for option in Select(opened.find_element("id", "look")).options:
        option.click()
        looks.append(pixels(opened))
    for number, look in enumerate(looks):
        assert all(np.abs(look - other).mean() > 1 for other in looks[:number])


def test_sliding_through_the_order_of_merging(opened, histories):
    _, history = histories["atc_average", 0.5]
    slider = opened.find_element("id", "step")
    slider.send_keys(Keys.HOME)
    assert text(opened, "where") == "Step 0 of 172: before the first stage"
    for step in range(1, 6):
        slider.send_keys(Keys.ARROW_RIGHT)
        assert text(opened, "count") == f"{196 - step} tokens"
        assert shown_leaders(opened) == order.leaders(history, step).tolist()
    ActionChains(opened).drag_and_drop_by_offset(slider, 40, 0).perform()
    step = int(slider.get_attribute("value"))
    assert 80 < step < 172
    assert text(opened, "count") == f"{196 - step} tokens"
    assert shown_leaders(opened) == order.leaders(history, step).tolist()


def test_playing_moves_on_by_itself_and_stops(opened):
    opened.find_element("id", "play").click()
    WebDriverWait(opened, 5).until(lambda _: "Step 4" in text(opened, "where"))
    opened.find_element("id", "play").click()
    assert text(opened, "play") == "Play"
    where = text(opened, "where")
    opened.execute_async_script("setTimeout(arguments[0], 200)")
    assert text(opened, "where") == where


def test_the_keyboard_moves_from_patch_to_patch(opened):
    canvas = opened.find_element("id", "current")
    opened.execute_script("arguments[0].focus()", canvas)
    ActionChains(opened).send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT).perform()
    assert text(opened, "patch").startswith("Patch in row 2, column 2:")


def test_names_with_markup_are_text(browser, tmp_path, histories):
    """A picture called so used to leave the page without its script."""
    name = "<!--<script>alert(1)</script>"
    photo = Photo(name, golden.outputs("backbone")["images"][3], golden.images(torch.float32)[3:4])
    model, _ = histories["topk", 0.5]
    file = tmp_path / "page.html"
    file.write_text(page.render(photo, [Method(name, name, model)], name), encoding="utf-8")
    browser.get(file.as_uri())
    assert text(browser, "count") == "24 tokens"
    assert [option.text for option in Select(browser.find_element("id", "reducer")).options] == [name]
    assert Select(browser.find_element("id", "setting")).first_selected_option.text == name
    assert browser.get_log("browser") == [], "the console must stay empty"
