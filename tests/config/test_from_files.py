"""Settings that files of one's own may bring, beside the mistakes of tests/mistakes: what they refer to, copies."""

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from atc.config import build, from_files
from atc.config.combinations import chosen_options

OWN = """\
# @package _global_
my_rate: 0.3
mine: {number: 3}
_note: said to readers
keep_rate: ${my_rate}
t: ${mine.number}
"""


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose("train", list(overrides), return_hydra_config=True)
    from_files.check(cfg, "train", cfg.hydra)
    return cfg


def own(directory: Path, name: str, text: str) -> str:
    """A file of one's own, and the setting that lets Hydra find it."""
    file = directory / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return f"hydra.searchpath=['file://{directory}']"


def test_what_others_refer_to_and_what_is_added_on_purpose(tmp_path: Path) -> None:
    cfg = composed(own(tmp_path, "experiment/mine", OWN), "experiment=mine", "+other=3", "+benchmark.other=4")
    assert (cfg.keep_rate, cfg.other) == (0.3, 3)


def test_a_group_of_ones_own(tmp_path: Path) -> None:
    cfg = composed(own(tmp_path, "extra/some", "size: 3\n"), "+extra=some")
    assert chosen_options(cfg.hydra.runtime)["extra"] == "some"


def test_a_copy_of_a_shipped_file_may_stay(tmp_path: Path) -> None:
    (tmp_path / "reducer").mkdir()
    shutil.copy(build.conf_dir() / "reducer" / "tome.yaml", tmp_path / "reducer")
    path = own(tmp_path, "reducer/topk", "_target_: mine.TopK\n_partial_: true\n")
    chosen_options(composed(path, "reducer=tome").hydra.runtime)
    with pytest.raises(ValueError, match=r"reducer=topk means ATC's own file, which hides .*reducer/topk\.yaml"):
        chosen_options(composed(path, "reducer=topk").hydra.runtime)


@pytest.mark.parametrize("group", ["experiment", "datamodule", "callbacks", "task"])
def test_the_shipped_files_pass(group: str) -> None:
    for name in build.names(group):
        composed(f"{group}={name}")
