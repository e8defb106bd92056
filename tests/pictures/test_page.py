"""The interactive page: complete in itself, and saying what the models did."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import atc
from atc.pictures import colours, order, page
from atc.pictures.methods import Method
from atc.pictures.photo import Photo
from tests import golden


@pytest.fixture(scope="module")
def shown():
    return Photo("cat", golden.outputs("backbone")["images"][3], golden.images(torch.float32)[3:4])


@pytest.fixture(scope="module")
def methods():
    vit = golden.vit(dtype=torch.float32)
    names = ("atc_average", "atc_complete", "topk")
    return [Method(name, f"keep rate {rate}", atc.wrap(vit, name, rate)) for name in names for rate in (0.25, 0.5)]


@pytest.fixture(scope="module")
def html(shown, methods):
    return page.render(shown, methods, "keep rate 0.5")


@pytest.fixture(scope="module")
def data(html):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(found[1])


def test_it_asks_the_network_for_nothing(html):
    assert "http:" not in html
    assert "https:" not in html
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == ["data:,"]
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert not re.search(r"/\*\w+\*/", html), "a place of the template is left empty"


def test_it_holds_the_photograph(data, shown):
    kind, _, code = data["photo"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(code))) as picture:
        assert (np.asarray(picture) == shown.drawn).all()
    assert data["grid"] == [14, 14]
    assert data["means"][15] == shown.drawn[16:32, 16:32].mean(axis=(0, 1)).round().tolist()


def test_a_large_photograph_is_compressed(shown, methods):
    large = shown._replace(drawn=shown.drawn.repeat(3, axis=0).repeat(3, axis=1))
    content = page.content(large, methods[:1], "")
    assert content["photo"].startswith("data:image/jpeg;base64,")
    assert len(content["photo"]) < 200_000


def test_it_holds_every_step_of_every_method(data, shown, methods):
    assert [(run["reducer"], run["linkage"], run["setting"]) for run in data["runs"]] == [
        ("atc", "average", "keep rate 0.25"),
        ("atc", "average", "keep rate 0.5"),
        ("atc", "complete", "keep rate 0.25"),
        ("atc", "complete", "keep rate 0.5"),
        ("topk", None, "keep rate 0.25"),
        ("topk", None, "keep rate 0.5"),
    ]
    for run, method in zip(data["runs"], methods, strict=True):
        (history,) = order.histories(method.model, shown.seen)
        assert run["steps"] == history.steps.tolist()
        assert [stage["tokens"] for stage in run["stages"]] == method.model.trace.tokens()
        assert run["stages"][-1]["steps"] == len(run["steps"])
        assert len(run["colours"]) == 196
        assert max(run["colours"]) < len(data["palette"]) == len(colours.palette()[0])


HOSTILE = ["</script><b>", "<!--<script>", "<!--", "]]>", "\u2028&amp;'\"\\", "\x1b[31m", "caf\udce9"]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_in_the_data_is_markup(shown, methods, name):
    """Names of pictures, and of reducers and settings, which anybody may have chosen."""
    hostile = methods[0]._replace(reducer=f"{name}_own", setting=name)
    text = page.render(shown._replace(name=name), [hostile], name)
    text.encode("utf-8")
    plain = page.render(shown._replace(name=""), [methods[0]._replace(reducer="own", setting="")], "")
    for mark in ("<", ">", "&"):
        assert text.count(mark) == plain.count(mark), f"{mark} of the name is in the page"
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    found = json.loads(data)
    assert (found["name"], found["setting"], found["runs"][0]["reducer"]) == (name, name, f"{name}_own")


def test_a_page_without_methods_is_refused(shown):
    with pytest.raises(ValueError, match="no method to show"):
        page.render(shown, [])
