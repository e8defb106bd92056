"""Shared fixtures. Nothing here, or in any test, touches the network."""

import logging
import os
import shutil
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("ATC_CHECK_PLANS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes that tests start: pytest-xdist has a worker per core

import pytest
import torch

from tests import skips
from tests.groups import into_groups
from tests.skips import pytest_sessionfinish  # noqa: F401 (a hook)

torch.set_num_threads(1)  # pytest-xdist runs one worker per core


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips.pytest_collection_modifyitems(config, items)
    into_groups(config, items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if item.get_closest_marker("no_gpu") and torch.cuda.is_available():
        pytest.skip("needs a machine without a CUDA device")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Commands run in this process log to the streams of their test, which are closed after it; some log less."""
    levels = {logger: logger.level for logger in _our_loggers()}
    before = {name: set(logging.getLogger(name).handlers) for name in (None, "atc")}
    yield
    for name, handlers in before.items():
        logger = logging.getLogger(name)
        for handler in set(logger.handlers) - handlers:
            logger.removeHandler(handler)
    for logger in _our_loggers():
        logger.setLevel(levels.get(logger, logging.NOTSET))


def _our_loggers() -> list[logging.Logger]:
    found = logging.Logger.manager.loggerDict
    return [logger for name, logger in found.items() if isinstance(logger, logging.Logger) and name.startswith("atc")]


CHROMIUM = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1200,1150"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium as selenium drives it; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e .[browser]")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and chromedriver on the PATH (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [*CHROMIUM, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()
