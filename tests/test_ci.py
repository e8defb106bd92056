"""`.ci/run` installs everything, and fails where a test is skipped that need not be."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN = (ROOT / ".ci" / "run").read_text()

_spec = importlib.util.spec_from_file_location("lowest", ROOT / ".ci" / "lowest.py")
assert _spec is not None
assert _spec.loader is not None
lowest_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lowest_module)

TESTS = """
import pytest
from pytest import importorskip

def test_passes(): pass

@pytest.mark.gpu
def test_of_a_gpu(): pytest.skip("needs a CUDA device")

def test_of_the_browser(): pytest.skip("needs Chromium and chromedriver on the PATH")
"""


def suite(folder: Path, text: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu: x\n  no_gpu: x\n")
    (folder / "test_some.py").write_text(text)
    given = {key: value for key, value in os.environ.items() if not key.startswith(("ATC_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider", *options]
    given |= {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


def test_every_extra_is_installed() -> None:
    (requirement,) = EXTRAS["all"]
    named = requirement.removeprefix(f"{PROJECT['name']}[").removesuffix("]").split(",")
    assert sorted(named) == sorted(set(EXTRAS) - {"all"})
    installs = [line for line in RUN.splitlines() if " install -q -c " in line]
    assert sum(".[all]" in line for line in installs) == 2, "with the constraints, and at the lowest versions"
    assert any("-c constraints.txt" in line and ".[all]" in line for line in installs)
    assert "ATC_NO_SKIPS=1" in RUN


def test_the_lines_of_python_in_it_name_what_there_is() -> None:
    lines = [line for line in re.findall(r"-c '([^']+)'", RUN) if "elsewhere" not in line]
    assert lines
    for line in lines:
        subprocess.run([sys.executable, "-c", line], cwd=ROOT, check=True)


def test_what_is_left_out_at_the_lowest_versions_is_there() -> None:
    block = RUN.partition("\nsame_at_any_version=(\n")[2].partition("\n)\n")[0]
    left_out = [line.partition("#")[0].strip() for line in block.splitlines()]
    assert len(left_out) == len(set(left_out)) > 1
    assert [path for path in left_out if not (ROOT / path).exists()] == []
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
    assert listed.read_text() == "test_some.py\n"
