"""Pictures that cannot be read, and the splits."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.io.pictures import CorruptImage
from datamodules.io.targets import hold_out, multi_hot
from tests.datamodules.on_disk import load, write_nabirds, write_nus_wide


@pytest.fixture
def broken(tmp_path: Path) -> list[str]:
    """NABirds with a test picture cut off, one that is no picture, and one that is gone."""
    write_nabirds(tmp_path, train=18, test=9)
    paths, _ = load("nabirds", tmp_path).released["test"]
    content = Path(paths[1]).read_bytes()
    Path(paths[1]).write_bytes(content[: len(content) // 2])
    Path(paths[4]).write_text("no picture")
    Path(paths[7]).unlink()
    return [paths[i] for i in (1, 4, 7)]


@pytest.mark.parametrize("workers", [0, 1])
def test_fail_names_the_path_in_one_line(tmp_path: Path, broken: list[str], workers: int) -> None:
    with pytest.raises(CorruptImage, match="on_corrupt=skip") as error:
        list(load("nabirds", tmp_path, num_workers=workers).test_dataloader())
    assert str(error.value).startswith(f"cannot read {broken[0]} (OSError: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_leaves_out_and_counts(
    tmp_path: Path, broken: list[str], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = load("nabirds", tmp_path, on_corrupt="skip", num_workers=workers, eval_batch_size=3)
    for _ in range(2):  # met again, a picture is not counted again
        targets = torch.cat([targets for _, targets in data.test_dataloader()])
        expected = [t for i, t in enumerate(data.parts["test"][1].tolist()) if i not in (1, 4, 7)]
        assert targets.tolist() == expected
    assert data.corrupt == sorted(broken)
    with caplog.at_level(logging.WARNING):
        data.teardown("test")
    assert "unreadable pictures skipped: 3 (" in caplog.text
    assert all(path in caplog.text for path in broken)


def test_training_batches_keep_their_size(tmp_path: Path) -> None:
    write_nabirds(tmp_path)
    data = load("nabirds", tmp_path, on_corrupt="skip", selection="test_as_released", batch_size=6)
    bad = data.parts["train"][0][0]
    Path(bad).write_text("")
    batches = list(data.train_dataloader())
    assert [len(images) for images, _ in batches] == [6, 6, 6]
    assert data.corrupt == [bad]


def test_a_batch_without_any_readable_picture(tmp_path: Path, broken: list[str]) -> None:
    data = load("nabirds", tmp_path, on_corrupt="skip", eval_batch_size=1)
    with pytest.raises(CorruptImage, match="cannot read any of the 1 pictures of a batch"):
        list(data.test_dataloader())


def test_errors_of_transforms_are_not_taken_for_corrupt_pictures(tmp_path: Path) -> None:
    write_nabirds(tmp_path)
    pictures = load("nabirds", tmp_path, on_corrupt="skip").pictures("test")

    def fails(image: Any) -> torch.Tensor:
        raise ValueError("the transform is wrong")

    pictures.transform = fails
    with pytest.raises(ValueError, match="the transform is wrong"):
        next(iter(DataLoader(pictures)))


def test_settings_are_checked(tmp_path: Path) -> None:
    write_nabirds(tmp_path)
    with pytest.raises(ValueError, match="on_corrupt=ignore is neither"):
        load("nabirds", tmp_path, on_corrupt="ignore").test_dataloader()
    with pytest.raises(ValueError, match="selection=best is neither"):
        load("nabirds", tmp_path, selection="best")
    with pytest.raises(ValueError, match=r"held_out=1.5 is not between"):
        load("nabirds", tmp_path, held_out=1.5)


def test_selection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_nus_wide(tmp_path, train=40, val=7)
    ours = load("nus_wide", tmp_path)
    assert {part: len(entries) for part, (entries, _) in ours.parts.items()} == {"train": 36, "val": 4, "test": 7}
    assert not {*ours.parts["train"][0]} & {*ours.parts["val"][0]}
    assert load("nus_wide", tmp_path, seed=5).parts["val"][0] == ours.parts["val"][0]
    released = load("nus_wide", tmp_path, selection="test_as_released")
    with caplog.at_level(logging.WARNING):
        assert len(released.parts["train"][0]) == 40
    assert released.parts["val"][0] == released.parts["test"][0] == ours.parts["test"][0]
    assert "selecting on the test part, as released" in caplog.text


def test_hold_out_takes_its_share_of_every_class() -> None:
    targets = torch.arange(555).repeat_interleave(torch.arange(555) % 50 + 13)
    held, rest = hold_out(targets, 0.1)
    assert len(held) == int(len(targets) * 0.1)
    assert torch.cat([held, rest]).sort().values.equal(torch.arange(len(targets)))
    off = targets[held].bincount(minlength=555) - 0.1 * targets.bincount()
    assert off.abs().max() < 1
    assert hold_out(targets, 0.1)[0].equal(held)
    assert len(hold_out(torch.tensor([0, 1]), 0.1)[0]) == 1
    with pytest.raises(ValueError, match="out of 1 training pictures"):
        hold_out(torch.tensor([0]), 0.1)


def test_multi_hot() -> None:
    assert multi_hot([[2], [], [0, 2]], 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 1]]
