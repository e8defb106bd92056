"""A compiled kernel for the tests, also where the package runs from a checkout that was never installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from atc.ops.linkage import cpu

ROOT = Path(__file__).parents[2]


def build_module():
    """The build hook, which is a file of the checkout and no part of the package."""
    pytest.importorskip("hatchling", reason="the build hook needs hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kernel(tmp_path_factory):
    if cpu.kernel_among() is None:
        library = tmp_path_factory.mktemp("native") / "_native.so"
        if not build_module().compile_library(ROOT, library):
            pytest.skip("no C++ compiler to build the clustering kernel with")
        cpu.LIBRARY = library
        cpu.kernel.cache_clear()
        cpu.kernel_among.cache_clear()
        cpu.of_library.cache_clear()
    return cpu.kernel()
