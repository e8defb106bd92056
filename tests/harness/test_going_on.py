"""Trainings that go on: where the run has moved, where a checkpoint is damaged, where the store lacks the record."""

import json
import logging
import multiprocessing
import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from atc import run
from atc.runs import store as results_store
from atc.runs.checkpoints import training_state, updates
from atc.runs.lock import claimed
from atc.runs.store import Store, reconcile
from tests.harness.commands import composed
from tests.processes import in_a_process

SETTINGS = ["reducer=topk", "baselines=false", "optimizer.warmup_epochs=0"]
# So that what is trained from here on is worse: the best epoch is one of before.
WORSE = [*SETTINGS, "trainer.max_epochs=3", "optimizer.lr=3.0"]


def copied(trained: Path, to: Path) -> Path:
    shutil.copytree(trained, to, copy_function=shutil.copy)  # times of change are lost
    return to


def going_on(directory: Path, *overrides: str) -> dict[str, Any]:
    return run.train(composed("train", directory, *overrides, f"resume={directory}"))


def note(directory: Path, **parts: Any) -> None:
    """Change what results.json says."""
    file = directory / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))


@pytest.mark.slow
def test_a_moved_run_knows_its_best_epoch(trained: Path, tmp_path: Path) -> None:
    """Moved, copied, and reached by a link: as where it was."""
    best = json.loads((trained / "results.json").read_text())["results"]["validation"]
    stays = copied(trained, tmp_path / "stays")
    places = {"moved": copied(trained, tmp_path / "elsewhere" / "deeper"), "linked": tmp_path / "link" / "here"}
    copied(trained, tmp_path / "target" / "here")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    expected = going_on(stays, *WORSE).results
    assert expected["validation"] == best
    for name, directory in places.items():
        found = going_on(directory, *WORSE).results
        assert found["validation"] == best, name
        assert found["fine_tuned"] == expected["fine_tuned"], name
        state = torch.load(directory / "last.ckpt", weights_only=True)
        paths = [callback["best_model_path"] for callback in state["callbacks"].values() if "monitor" in callback]
        assert set(paths) == {str(directory.resolve() / file) for file in ("best.ckpt", "last.ckpt")}, name


def test_a_run_that_goes_on_in_another_directory(trained: Path, tmp_path: Path) -> None:
    copied(trained, tmp_path / "old")
    settings = composed("train", tmp_path / "new", *WORSE, f"resume={tmp_path / 'old'}")
    best = json.loads((trained / "results.json").read_text())["results"]["validation"]
    assert run.train(settings).results["validation"] == best
    assert (tmp_path / "old" / "best.ckpt").is_file()


def test_the_best_epoch_is_never_one_at_the_old_place(trained: Path, tmp_path: Path) -> None:
    """The run was killed after its last epoch, and copied; what lies at the old place is another's now."""
    old = copied(trained, tmp_path / "old")
    going_on(old, *WORSE)  # best.ckpt is of the run's second epoch at most, last.ckpt of its third
    note(old, status="running")
    new = copied(old, tmp_path / "new")
    shutil.copy(old / "last.ckpt", old / "best.ckpt")
    expected = json.loads((new / "results.json").read_text())["results"]
    assert going_on(new, *WORSE).results["fine_tuned"] == expected["fine_tuned"]


@pytest.mark.slow
def test_it_takes_its_best_epoch_along(trained: Path, tmp_path: Path) -> None:
    """In another directory, which may move on, and be evaluated by itself."""
    expected = going_on(copied(trained, tmp_path / "stays"), *WORSE).results
    old, new = copied(trained, tmp_path / "old"), tmp_path / "new"
    run.train(composed("train", new, *WORSE, f"resume={old}"))
    assert (new / "best.ckpt").read_bytes() == (trained / "best.ckpt").read_bytes()
    shutil.rmtree(old)
    new = new.rename(tmp_path / "newer")
    note(new, status="running")
    found = going_on(new, *WORSE).results
    assert (found["validation"], found["fine_tuned"]) == (expected["validation"], expected["fine_tuned"])


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"])
def test_a_best_epoch_that_is_gone_is_forgotten(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    directory = copied(trained, tmp_path / "run")
    (directory / "best.ckpt").unlink()
    if content is not None:
        (directory / "best.ckpt").write_bytes(content)
    note(directory, status="running")
    assert going_on(directory, *SETTINGS).status == "finished"
    assert f"{directory / 'best.ckpt'} is not there any more" in caplog.text


DAMAGES = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "text": lambda content: b"no checkpoint\n",
    "garbage": lambda content: bytes(255 - byte for byte in content[:5000]),
    "garbage in the middle": lambda content: content[:2_000_000] + bytes(4096) + content[2_004_096:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_checkpoint_that_can_be_read(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    directory = copied(trained, tmp_path / "run")
    last, best = directory / "last.ckpt", directory / "best.ckpt"
    assert training_state("auto", directory) == last
    content = last.read_bytes()
    last.write_bytes(DAMAGES[damage](content))
    assert updates(last) is None
    for resume in ("auto", directory):
        caplog.clear()
        assert training_state(resume, directory) == best
        (warning,) = caplog.messages
        assert str(last) in warning
        assert f"going on from best.ckpt, after {updates(best)} updates" in warning
    with pytest.raises(ValueError, match=rf"resume={last} is .*; {best} can be read"):
        training_state(last, directory)
    (directory / "epoch3.ckpt").write_bytes(content)  # more updates than best.ckpt, or as many
    assert updates(training_state("auto", directory) or last) == 6
    (directory / "epoch3.ckpt").unlink()

    best.write_bytes(b"")
    caplog.clear()
    assert training_state("auto", directory) is None
    assert "starts from the beginning" in caplog.text
    with pytest.raises(
        ValueError, match=r"no state of a training that can be read: last\.ckpt is .*; best\.ckpt is empty"
    ):
        training_state(directory, directory)


def test_weights_are_no_state_to_go_on_from(trained: Path, tmp_path: Path) -> None:
    state = torch.load(trained / "last.ckpt", weights_only=True)
    torch.save({"state_dict": state["state_dict"]}, tmp_path / "last.ckpt")
    assert training_state("auto", tmp_path) is None
    with pytest.raises(ValueError, match=r"last\.ckpt holds weights, not the state of a training"):
        training_state(tmp_path, tmp_path)


def test_from_an_older_checkpoint_as_unbroken(trained: Path, tmp_path: Path) -> None:
    whole, cut = copied(trained, tmp_path / "whole"), copied(trained, tmp_path / "cut")
    longer = [*SETTINGS, "trainer.max_epochs=3"]
    expected = going_on(whole, *longer).results
    (cut / "last.ckpt").write_bytes(b"")
    note(cut, status="running")
    found = run.train(composed("train", cut, *longer, "resume=auto")).results
    assert (found["fine_tuned"], found["validation"]) == (expected["fine_tuned"], expected["validation"])


def test_a_finished_run_that_the_store_lacks_is_entered_once(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    directory = copied(trained, tmp_path / "run")
    again = composed("train", directory, *SETTINGS, "resume=auto")
    store = Store(directory / "store")
    (before,) = store.records()
    run.train(again)
    assert store.records() == [before]
    shutil.rmtree(store.directory)
    run.train(again)
    assert "was not in the results store yet" in caplog.text
    assert store.records() == [before]
    note(directory, code={"reducer": "0" * 12})
    run.train(again)
    assert "code changed since: reducer; without resume=auto it is run anew" in caplog.text
    assert store.records() == [before]
    note(directory, status="failed")
    shutil.rmtree(store.directory)
    assert reconcile(directory, store.directory, again) is None
    assert reconcile(tmp_path / "nowhere", store.directory, again) is None


def test_two_enter_it_at_once(trained: Path, tmp_path: Path) -> None:
    directory = copied(trained, tmp_path / "run")
    cfg = composed("train", directory, *SETTINGS)
    context = multiprocessing.get_context("fork")
    begin = context.Barrier(4)

    def enter() -> None:
        begin.wait()
        reconcile(directory, tmp_path / "store", cfg)

    processes = [context.Process(target=enter) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(Store(tmp_path / "store").records()) == 1


def test_a_run_that_was_ended_while_it_was_entered_stays_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append = Store.append

    def full(self: Store, record: Any) -> Path:
        monkeypatch.setattr(results_store.Store, "append", append)
        raise OSError(28, "No space left on device", str(self.directory))

    monkeypatch.setattr(results_store.Store, "append", full)
    caplog.set_level(logging.INFO)
    said = rf"No space left.*: paths\.store={tmp_path / 'store'} did not take the record, which is in .*results\.json"
    with pytest.raises(OSError, match=said):
        run.train(composed("train", tmp_path, *SETTINGS, "trainer.max_epochs=1"))
    assert "accuracy" in caplog.text  # the results are shown
    assert json.loads((tmp_path / "results.json").read_text())["status"] == "finished"
    (record,) = Store(tmp_path / "store").records()
    assert record.status == "finished"


@pytest.mark.slow
def test_a_full_disk_fails_the_run_and_is_named(tmp_path: Path) -> None:
    said = f"[Errno 27] File too large: '{tmp_path / 'best.ckpt'}'"
    with pytest.raises(OSError, match=re.escape(said)):
        in_a_process(train_with_short_files, tmp_path)
    record = json.loads((tmp_path / "results.json").read_text())
    assert (record["status"], record["error"]) == ("failed", said)
    assert [record.status for record in Store(tmp_path / "store").records()] == ["failed"]
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".ckpt", ".partial", ".safetensors")]


def test_what_a_killed_process_left_half_written_is_removed(trained: Path, tmp_path: Path) -> None:
    directory = copied(trained, tmp_path / "run")
    for name in (".last.ckpt.0123456789ab.partial", "last.ckpt.partial", "results.77.tmp"):
        (directory / name).write_bytes(b"half of one")
    run.train(composed("train", directory, *SETTINGS, "resume=auto"))
    assert not [file for file in directory.iterdir() if file.suffix in (".partial", ".tmp")]


def test_a_run_in_use_is_left_alone(trained: Path, tmp_path: Path) -> None:
    directory = copied(trained, tmp_path / "run")
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()

    def hold() -> None:
        with claimed(directory):
            held.set()
            done.wait(60)

    process = context.Process(target=hold)
    process.start()
    try:
        assert held.wait(60)
        with pytest.raises(ValueError, match=f"is in use by process {process.pid}"):
            run.train(composed("train", directory, *SETTINGS, "resume=auto"))
    finally:
        done.set()
        process.join(60)


def train_with_short_files(directory: Path) -> None:
    """A training in which no file may be longer than 100 kB, which stops a checkpoint as a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    run.train(composed("train", directory, *SETTINGS, "trainer.max_epochs=1"))
