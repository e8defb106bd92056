"""The suite stays green where methods, a data set and a host have been added as the pages on them say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs_own_parts import FILES, LIST
from tests.test_readme import REDUCER, ROOT, block
from tests.tracked import tracked

# The tests that take the method up by themselves, and those that look at the files of the project.
AFFECTED = (
    "(largest_norm or transport or dyvit or test_readme or test_layout or test_code or test_docs.py or "
    "test_docstrings or test_best or "
    "test_files or test_released or test_refused or test_configs or test_check or test_identity or aircraft)"
    " and not onnxruntime"
)
TESTS = (
    "tests/test_*.py",
    "tests/reducers",
    "tests/sweeps/test_files.py",
    "tests/vit",
    "tests/runs/test_identity.py",
    "tests/datamodules/test_configs.py",
    "tests/datamodules/test_check.py",
    "tests/datamodules/test_end_to_end.py",
    "tests/pictures",
    "tests/report/test_best.py",
    "tests/dense",
    "tests/config",
)


DATA_SET = (ROOT / "docs" / "data_set.md").read_text()
PAGE = (ROOT / "docs" / "reducer_kinds.md").read_text()
# A soft and a learned one, under names that the authors' checkpoints have for methods.
KINDS = {"transport": "Transport", "dyvit": "LearnedMask"}


def _module(cls: str) -> str:
    """What the page imports, and one of its classes."""
    codes = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    imports = [line for code in codes for line in code.splitlines() if re.match(r"(from|import) ", line)]
    (own,) = (code[code.index(f"class {cls}") :] for code in codes if f"class {cls}" in code)
    return '"""A method of the page."""\n\n' + "\n".join([*imports, "", "", own])


@pytest.mark.slow
def test_it_stays_green(tmp_path: Path) -> None:
    """In a copy of the checkout with its history, the new files added to it."""
    for path in tracked("*"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for library in (ROOT / "atc" / "ops" / "linkage").glob("_native*"):  # compiled once
        (tmp_path / library.relative_to(ROOT)).write_bytes(library.read_bytes())
    (tmp_path / "reducers" / "largest_norm.py").write_text(block(REDUCER, "Write `reducers/largest_norm.py`", "python"))
    settings = block(REDUCER, "and `conf/reducer/largest_norm.yaml`", "yaml")
    (tmp_path / "conf" / "reducer" / "largest_norm.yaml").write_text(settings)
    (tmp_path / "tests" / "reducers" / "test_largest_norm.py").write_text(
        block(REDUCER, "`tests/reducers/test_largest_norm.py`", "python")
    )
    for name, cls in KINDS.items():
        (tmp_path / "reducers" / f"{name}.py").write_text(_module(cls))
        (tmp_path / "conf" / "reducer" / f"{name}.yaml").write_text(
            f"_target_: reducers.{name}.{cls}\n_partial_: true\n"
        )
    (tmp_path / "datamodules" / "aircraft.py").write_text(
        dict(FILES.findall(DATA_SET.split(LIST)[1]))["my_pictures.py"]
    )
    (tmp_path / "conf" / "datamodule" / "aircraft.yaml").write_text(
        dict(FILES.findall(DATA_SET.split(LIST)[1]))["my_conf/datamodule/listed.yaml"].replace(
            "my_pictures", "datamodules.aircraft"
        )
    )
    host = (ROOT / "tests" / "vit" / "other_names.py").read_text()
    (tmp_path / "atc" / "vit" / "hosts" / "other_names.py").write_text(f"{host}\n\nHOST = OtherNamesHost\n")
    for line in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Add"]):
        subprocess.run(["git", *line], cwd=tmp_path, check=True, capture_output=True)
    files = [str(path.relative_to(tmp_path)) for pattern in TESTS for path in sorted(tmp_path.glob(pattern))]
    command = [sys.executable, "-m", "pytest", "-v", "-n1", "-k", AFFECTED, *files]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "ATC_"))}
    env |= {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 100
    for name in ("largest_norm", *KINDS):
        assert len(re.findall(rf"PASSED.*\[{name}", done.stdout)) >= 20, name
