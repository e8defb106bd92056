"""Detectors in miniature as they are trained at large: precisions, several processes, and a process that is killed."""

import json
import time
from pathlib import Path

import pytest
import torch

from atc import run
from tests.datamodules.on_disk import write_coco
from tests.harness import forked
from tests.harness.commands import ROOT, TINY, command, composed, environment
from tests.harness.test_mmdet import DATA, MODEL
from tests.harness.test_predict import settings
from tests.tasks.test_detection import SMALL

pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[detection]'")
SETTINGS = [*SMALL, "reducer=atc_average", "callbacks.gallery.images=1", "trainer.limit_train_batches=4"]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(directory / "last.ckpt", weights_only=True)["state_dict"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_trains_close_to_single(tmp_path: Path, precision: str) -> None:
    same = ["optimizer.opt=sgd", "optimizer.lr=0.01", "optimizer.warmup_epochs=0"]
    moved = {}
    for name in ("32-true", precision):
        cfg = composed("train", tmp_path / name, *SETTINGS, *same, f"trainer.precision={name}")
        record = run.train(cfg)
        assert record.status == "finished"
        assert record.precision == ("32-true" if name == "32-true" else "bf16-mixed"), (
            "16-mixed is Lightning's on a GPU"
        )
        moved[name] = weights(tmp_path / name)
    key = "model.roi_heads.box_predictor.cls_score.bias"
    single, half = (of[key] for of in moved.values())
    assert half.dtype == torch.float32
    assert single.abs().max() > 0, "it starts at zero"
    torch.testing.assert_close(half, single, rtol=0.2, atol=float(single.abs().max()) * 0.2)


@pytest.mark.slow
def test_activations_computed_again_change_nothing(tmp_path: Path) -> None:
    for name in ("false", "true"):
        cfg = composed("train", tmp_path / name, *SETTINGS, f"activation_checkpointing={name}")
        run.train(cfg)
    kept, again = (weights(tmp_path / name) for name in ("false", "true"))
    for key, value in kept.items():
        torch.testing.assert_close(again[key], value, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.slow
def test_two_processes_with_accumulated_batches(tmp_path: Path) -> None:
    """Detections of both are scored, each image once; the rate follows the images of an update."""
    more = [
        *("optimizer=detection", "~optimizer.warmup_epochs", "trainer.accumulate_grad_batches=2", "datamodule.test=5"),
        *(
            "trainer.devices=2",
            "trainer.strategy=ddp",
            "trainer.limit_test_batches=1.0",
            "datamodule.eval_batch_size=1",
        ),
    ]
    done = command("train.py", *TINY, *SETTINGS, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = tmp_path.glob("runs/train/*")
    record = json.loads((directory / "results.json").read_text())
    assert record["results"]["fine_tuned"]["images"] == 5
    assert any("is for 16 images an update" in one and "8" in one for one in record["notices"])
    assert torch.load(directory / "last.ckpt", weights_only=True)["global_step"] == 2
    rows = json.loads((directory / "detections_fine_tuned.json").read_text())
    assert {row["image_id"] for row in rows} <= set(range(5))
    assert (directory / "pictures" / "fine_tuned.png").is_file()


@pytest.mark.slow
def test_killed_on_cocos_files_it_ends_as_unbroken(tmp_path: Path) -> None:
    """Training, SIGKILL, the same command again, and a prediction by what it left."""
    write_coco(tmp_path / "coco", 2017, train=12, val=3, empty=1)
    given = [
        *("experiment=coco_detection_36ep", "trainer.precision=32-true", "trainer.sync_batchnorm=false"),
        *(*DATA, *MODEL, "datamodule.batch_size=2", "trainer.accumulate_grad_batches=1", "reducer=atc_average"),
        *("datamodule.transforms.short_sides=[48,64]", "trainer.max_epochs=1", "optimizer.milestones=[]"),
        *("trainer.limit_train_batches=1.0", "callbacks.stop_safely.minutes=0", f"datamodule.root={tmp_path / 'coco'}"),
    ]
    expected = run.train(composed("train", tmp_path / "whole", *given))
    process = forked.start([str(ROOT / "train.py"), *TINY, *given, "resume=auto"], tmp_path, environment())
    while not list(tmp_path.glob("runs/train/*/last.ckpt")):
        assert process.poll() is None, process.said()
        time.sleep(0.01)
    process.kill()
    (directory,) = tmp_path.glob("runs/train/*")
    assert 0 < torch.load(directory / "last.ckpt", weights_only=True)["global_step"] < 6
    done = command("train.py", *TINY, *given, "resume=auto", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"going on from {directory / 'last.ckpt'}" in done.stdout
    found = json.loads((directory / "results.json").read_text())
    assert found["results"]["fine_tuned"] == expected.results["fine_tuned"]
    for key, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(directory)[key]), key

    images = tmp_path / "coco" / "val2017"
    run.predict(settings(tmp_path / "found", f"checkpoint='{directory}'", f"images='{images}'"))
    assert len(list(tmp_path.glob("found/pictures/*.png"))) == 4
