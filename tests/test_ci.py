"""`.ci/run` installs everything, and fails where a test is skipped that need not be."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN = (ROOT / ".ci" / "run").read_text()


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lowest_module = _module("lowest")

TESTS = """
import pytest
from pytest import importorskip

def test_passes(): pass

@pytest.mark.gpu
def test_of_a_gpu(): pytest.skip("needs a CUDA device")

def test_of_the_browser(): pytest.skip("needs Chromium and chromedriver on the PATH")
"""


def suite(folder: Path, text: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu: x\n  no_gpu: x\n  slow: x\n")
    (folder / "test_some.py").write_text(text)
    given = {key: value for key, value in os.environ.items() if not key.startswith(("ATC_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider", *options]
    given |= {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


def test_every_extra_is_installed() -> None:
    (requirement,) = EXTRAS["all"]
    named = requirement.removeprefix(f"{PROJECT['name']}[").removesuffix("]").split(",")
    assert sorted(named) == sorted(set(EXTRAS) - {"all"})
    installs = [line for line in RUN.splitlines() if line.startswith('"${install[@]}" -c ')]
    assert any("-c constraints.txt" in line and ".[all]" in line for line in installs)
    assert any("lowest.txt" in line and ".[$extras]" in line for line in installs)
    assert "\nextras=$(python3 .ci/lowest.py --extras)" in RUN
    tested = {name.replace("_", "-") for name in EXTRAS} - {"all", "docs"}
    assert set(lowest_module.tested_extras(PROJECT).split(",")) == tested
    assert "ATC_NO_SKIPS=1" in RUN


def test_the_wheel_is_made_from_the_sdist_and_tried_with_the_newest_and_the_oldest_dependencies() -> None:
    assert 'python -m build --outdir "$work/dist" .' in RUN  # without --wheel: the sdist, and the wheel from it
    before, _, after = RUN.partition('step "the lowest versions of all dependencies"')
    assert "\nelsewhere\n" in before
    assert "\nelsewhere\n" in after


def test_the_smoke_test_refuses_the_checkout_and_names_what_a_wheel_holds() -> None:
    smoke = _module("smoke")
    with pytest.raises(SystemExit, match="what was imported is the checkout"):
        smoke.main()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    moved = {f"{there.removeprefix('atc/')}/": f"{here}/" for here, there in wheel["force-include"].items()}
    for name in smoke.FILES:
        first = f"{name.partition('/')[0]}/"
        assert (ROOT / (name if first in moved else f"atc/{name}")).is_file(), name


def test_what_is_left_out_at_the_lowest_versions_is_there() -> None:
    block = RUN.partition("\nsame_at_any_version=(\n")[2].partition("\n)\n")[0]
    code = f"all=({block}\n); printf '%s\\n' \"${{all[@]}}\""  # a pattern that fits nothing stays as it is
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    left_out = done.stdout.split()
    assert len(left_out) == len(set(left_out)) > 50
    assert [path for path in left_out if not (ROOT / path).exists()] == []
    run = ("tests/reducers/test_contract.py", "tests/ops/test_linkage.py", "tests/report/test_figures.py")
    assert not set(run) & set(left_out)
    assert 'pytest -q "${same_at_any_version[@]/#/--ignore=}"' in RUN


def test_constraints_name_what_the_extras_need() -> None:
    known = {line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").open()}
    assert {name.lower().replace("_", "-") for name in lowest_module.floors(PROJECT)} - known == set()


def test_lowest_versions_are_those_of_pyproject() -> None:
    lines = lowest_module.lowest((ROOT / "pyproject.toml").read_text())
    assert "hydra-core==1.3.8" in lines
    assert len(lines) == len({line.partition("==")[0] for line in lines})
    for requirement in PROJECT["dependencies"]:
        name, _, floor = requirement.partition(">=")
        assert f"{name}=={floor.partition(',')[0]}" in lines


@pytest.mark.parametrize("requirement", ["torch", "torch==2.6", "torch~=2.6"])
def test_a_requirement_without_a_floor_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="must be of the form NAME>=VERSION"):
        lowest_module.floors({"name": "x", "dependencies": [requirement], "optional-dependencies": {}})


@pytest.mark.parametrize("options", [["-n0"], ["-n1"]])
def test_what_is_skipped_fails_the_run(tmp_path: Path, options: list[str]) -> None:
    text = TESTS + "\ndef test_other(): importorskip('no_such_package')\n"
    done = suite(tmp_path, text, *options, ATC_NO_SKIPS="1", ATC_CI_NO_BROWSER="1")
    assert done.returncode == 1, done.stdout
    assert "test_some.py::test_other may not be skipped: could not import 'no_such_package'" in done.stdout
    assert done.stdout.count("may not be skipped") == 1


def test_a_file_that_is_skipped_fails_the_run(tmp_path: Path) -> None:
    done = suite(tmp_path, "import pytest\npytest.importorskip('no_such_package')\n", "-n0", ATC_NO_SKIPS="1")
    assert done.returncode == 1, done.stdout
    assert "test_some.py may not be skipped" in done.stdout


def test_gpus_and_by_request_the_browser_may_be_skipped(tmp_path: Path) -> None:
    assert suite(tmp_path, TESTS, "-n0", ATC_NO_SKIPS="1", ATC_CI_NO_BROWSER="1").returncode == 0
    done = suite(tmp_path, TESTS, "-n0", ATC_NO_SKIPS="1")
    assert done.returncode == 1
    assert "test_of_the_browser may not be skipped" in done.stdout
    listed = tmp_path / "skipped.txt"
    assert suite(tmp_path, TESTS, "-n0", ATC_SKIPS_TO=str(listed)).returncode == 0
    assert listed.read_text() == "test_some.py::test_of_the_browser\n"


GROUPED = """
import pytest

@pytest.mark.slow
def test_slow(): pass

@pytest.mark.xdist_group("a")
@pytest.mark.parametrize("x", ["1@2", "3"])
def test_skipped(x): x == "3" or pytest.skip("now")

def test_passed(): pass
"""


def test_what_was_skipped_is_run_with_the_slow_tests(tmp_path: Path) -> None:
    listed, options = tmp_path / "skipped.txt", ["-rp", "-n1", "--dist", "loadgroup"]
    (tmp_path / "conftest.py").write_text(
        "from tests.groups import into_groups\n"
        "def pytest_collection_modifyitems(config, items): into_groups(config, items)\n"
    )
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.skip('now', allow_module_level=True)\n")
    suite(tmp_path, GROUPED, *options, ATC_SKIPS_TO=str(listed))
    assert listed.read_text() == "test_some.py::test_skipped[1@2]\ntest_whole.py\n"
    (tmp_path / "test_whole.py").write_text("def test_one(): pass\n")
    done = suite(tmp_path, GROUPED.replace("pytest.skip", "print"), *options, ATC_SLOW_AND=str(listed))
    found = re.findall(r"PASSED test_\w+\.py::(\S+?@a|\S+)", done.stdout)  # pytest adds a bracket to that of a group
    assert sorted(found) == ["test_one", "test_skipped[1@2]@a", "test_slow"], done.stdout
