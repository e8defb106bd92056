"""A run directory that is built on: as another model than its own, without settings, with checkpoints that are none."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.mistakes import Mistake

SAVED = """
choices: {reducer: topk, schedule: stages, backbone: digits, datamodule: digits, task: classification}
seed: 3
size_weighted: null
reducer: {_target_: reducers.topk.TopK, _partial_: true}
schedule: {_target_: atc.core.schedule.Stages, keep_rate: 0.5, threshold: null, blocks: [4, 7, 10], clamp: false}
"""


def run_directory(*lost: str, **checkpoints: bytes) -> Callable[[Path], None]:
    """A run directory that has lost some of its files, and others beside it."""

    def prepare(here: Path) -> None:
        run = here / "run"
        run.mkdir()
        composed = SAVED.replace("keep_rate: 0.5", "keep_rate: '${keep_rate}'").replace("[4, 7, 10]", "'${blocks}'")
        composed += "keep_rate: 0.5\nblocks: [4, 7, 10]\n"
        for name, text in {"composed.yaml": composed, "config.yaml": SAVED, "results.json": "{}"}.items():
            if name not in lost:
                (run / name).write_text(text)
        for name, content in ({"best": b"", "last": b""} | checkpoints).items():
            (run / f"{name}.ckpt").write_bytes(content)
        (here / "weights").mkdir()
        (here / "weights" / "best.ckpt").write_bytes(b"")

    return prepare


def files(here: Path) -> None:
    """Files that are no checkpoints; a checkpoint of a training that is cut off, and a whole one beside it."""
    import pickle

    import torch

    from atc.runs.checkpoints import PARTS

    for name, content in {
        "empty.pth": b"",
        "list.pth": pickle.dumps([1, 2]),
        "text.ckpt": json.dumps({"epoch": 1}).encode(),
        "model.onnx": b"\x08\x07\x12\x07pytorch" + bytes(99),
    }.items():
        (here / name).write_bytes(content)
    (here / "run").mkdir()
    (here / "run" / "composed.yaml").write_text(SAVED)
    weights = {"weight": torch.zeros(1000)}
    torch.save(dict.fromkeys(PARTS, 0) | {"state_dict": weights}, here / "run" / "best.ckpt")
    (here / "run" / "last.ckpt").write_bytes((here / "run" / "best.ckpt").read_bytes()[:1000])


def _run(line: str, *says: str, lost: tuple[str, ...] = ()) -> Mistake:
    return Mistake(line, says, prepare=run_directory(*lost), without_torch=True)


def _file(line: str, *says: str) -> Mistake:
    return Mistake(f"{line} reducer=topk backbone.pretrained=false", says, prepare=files)


_NONE = ("composed.yaml",)
_NO_SETTINGS = "run has no composed.yaml, the settings of its run"
MISTAKES = [
    _run("train resume=run reducer=tome", "resume=run is a run of reducer=topk", "not with reducer=tome", "best.ckpt"),
    _run("train resume=run/last.ckpt reducer=tome", "is a run of reducer=topk"),
    _run("train resume=run keep_rate=0.3", "schedule.keep_rate=0.5", "not with schedule.keep_rate=0.3"),
    _run("train resume=run schedule=constant", "schedule=stages", "not with schedule=constant"),
    _run("train resume=run blocks=[4,7]", "schedule.blocks=[4, 7, 10]", "not with schedule.blocks=[4, 7]"),
    _run("train resume=run datamodule=shapes", "datamodule=digits"),
    _run("train resume=run seed=1", "seed=3", "not with seed=1"),
    _run("train resume=run size_weighted=true", "size_weighted=null", "not with size_weighted=true"),
    _run("train resume=run", _NO_SETTINGS, "bring that back", lost=_NONE),
    _run("train resume=run/last.ckpt", _NO_SETTINGS, "move run/last.ckpt out of it", lost=_NONE),
    _run("evaluate checkpoint=run", _NO_SETTINGS, "move run/best.ckpt out of it", lost=_NONE),
    _run("evaluate checkpoint=run/best.ckpt", _NO_SETTINGS, lost=_NONE),
    _run("evaluate checkpoint=weights", "name the file, checkpoint=weights/best.ckpt, and say the settings"),
    _file("train resume=run/last.ckpt", "resume=run/last.ckpt is cut off", "run/best.ckpt can be read"),
    _file("evaluate checkpoint=run/last.ckpt", "run/last.ckpt is not a readable", "cut off", "run/best.ckpt can be"),
    _file("train resume=empty.pth", "resume=empty.pth is empty"),
    _file("train resume=list.pth", "resume=list.pth is damaged or no checkpoint"),
    _file("evaluate checkpoint=text.ckpt", "text.ckpt is not a readable weight file: it is a text file"),
    _file("evaluate checkpoint=model.onnx", "model.onnx is not a readable weight file: it is none of PyTorch"),
    _file("evaluate checkpoint=list.pth", "it is a pickle that torch.save has not written"),
]
