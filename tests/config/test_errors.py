"""One line for errors that need another installation to come about."""

import pytest
from hydra.errors import MissingConfigException

from atc.config import errors


@pytest.mark.parametrize(("name", "extra"), [("joblib", "joblib"), ("submitit_slurm", "slurm"), ("ray", "ray")])
def test_a_launcher_that_an_extra_brings(name: str, extra: str) -> None:
    error = MissingConfigException("", missing_cfg_file=f"hydra/launcher/{name}", options=["basic"])
    line = errors.one_line(error, "train", [])
    assert line == f"unknown hydra/launcher '{name}': pip install 'atc-toolkit[{extra}]' brings it; there are: basic"
