"""File names that are not UTF-8, or hold control characters: a run ends as with any others."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from atc.config.arguments import readable
from atc.config.build import conf_dir
from atc.config.taken_over import with_saved
from atc.printable import Printable
from atc.run import evaluate
from atc.runs import directories
from tests.datamodules.on_disk import write_class_folders
from tests.harness.commands import TINY, command, composed

NAMES = [b"caf\xe9.png", b"\x1b[2J.png", b"two\nlines.png"]
SHOWN = ["caf\\", "\\x1b[2J.png", "two\\nlines.png"]  # how they begin when they are escaped


@pytest.fixture(autouse=True)
def _printable_reports() -> Iterator[None]:
    """What pytest captures travels between its processes as UTF-8."""
    escape, loggers = Printable(), [logging.getLogger(f"datamodules.{name}") for name in ("base", "io.pictures")]
    for logger in loggers:
        logger.addFilter(escape)
    yield
    for logger in loggers:
        logger.removeFilter(escape)


def pictures(root: Path) -> list[str]:
    """Class folders with pictures of strange names that cannot be read; the settings of an evaluation of them."""
    write_class_folders(root / "train", ("ant", "bee"), each=4)
    write_class_folders(root / "val", ("ant", "bee"), each=6)
    for name in NAMES:
        try:
            Path(os.fsdecode(os.fsencode(root / "val" / "bee") + b"/" + name)).write_bytes(b"no picture")
        except OSError:
            pytest.skip("this file system takes no such names")
    settings = ["datamodule=folder", f"datamodule.root={root}", "datamodule.num_workers=0", "reducer=topk"]
    return [*settings, "datamodule.on_corrupt=skip", "trainer.limit_test_batches=1.0"]


def test_skipped_pictures_are_listed_a_line_each(tmp_path: Path) -> None:
    record = evaluate(composed("evaluate", tmp_path / "run", *pictures(tmp_path / "data")))
    assert record.status == "finished"
    assert record.corrupt_images == 3
    listed = (tmp_path / "run" / "corrupt_images.txt").read_text().splitlines()
    assert len(listed) == 3
    assert all(Path(line).name.startswith(shown) for line, shown in zip(sorted(listed), sorted(SHOWN), strict=True))


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_all_that_is_logged_goes_through_the_filter(name: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra = compose(name, return_hydra_config=True).hydra
    for logging_of in (hydra.job_logging, hydra.hydra_logging):
        (escape,) = (key for key, one in logging_of.filters.items() if one["()"] == "atc.printable.Printable")
        assert all(escape in handler.get("filters", []) for handler in logging_of.handlers.values())


@pytest.mark.slow
def test_the_command_shows_them_escaped(tmp_path: Path) -> None:
    settings = [setting for setting in TINY if "train_batches" not in setting and "epochs" not in setting]
    done = command("evaluate.py", *settings, *pictures(tmp_path / "data"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob("runs/evaluate/*/evaluate.log")
    for text in (done.stdout, log.read_text(encoding="utf-8")):
        assert "\x1b" not in text
        assert all(name in text for name in SHOWN[:2])
    assert "Logging error" not in done.stderr
    (entry,) = tmp_path.glob("runs/store/*.json")
    assert json.loads(entry.read_text())["corrupt_images"] == 3


def test_an_error_about_one_is_recorded(tmp_path: Path) -> None:
    settings = [*pictures(tmp_path / "data"), "datamodule.on_corrupt=fail"]
    with pytest.raises(ValueError, match="cannot read"):
        evaluate(composed("evaluate", tmp_path / "run", *settings))
    (entry,) = (tmp_path / "run" / "store").glob("*.json")
    found = json.loads(entry.read_text())
    assert found["status"] == "failed"
    assert any(name in found["error"] for name in SHOWN)
    found["error"].encode()


def test_a_data_set_lies_in_a_folder_named_like_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        write_class_folders(Path("${x},y") / part, ("ant", "bee"), each=4)
    (root,) = readable("evaluate", ["datamodule.root=${x},y"])
    settings = ["datamodule=folder", root, "datamodule.num_workers=0", "reducer=topk"]
    assert evaluate(composed("evaluate", tmp_path / "run", *settings)).status == "finished"
    again = composed("evaluate", tmp_path / "again")
    found = with_saved(again, tmp_path / "run", [], directories.OF_THE_EVALUATION)
    assert found.datamodule.root == "${x},y"
