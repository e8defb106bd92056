"""Wrapped models exported: to ONNX in an unmodified onnxruntime, and by torch.export in a process without ATC."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.vit.wrapped import METHODS, images, wrapped

QUICK = {("atc_average", "dynamic")}
STATIC = ("atc_average", "tome")  # a batch of one size is the simpler case
BATCH = torch.export.Dim("batch")
CASES = [
    pytest.param(name, dynamic, id=f"{name}-{kind}", marks=[] if (name, kind) in QUICK else [pytest.mark.slow])
    for name in ("atc_complete", "atc_single", "atc_average_dynamic", *METHODS)
    for kind, dynamic in (("static", False), ("dynamic", True))
    if dynamic or name in STATIC
]


class WithSources(nn.Module):
    """Logits, and the token that every patch has gone into."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(x)
        trace = self.model.trace
        return logits, trace[-1].source if trace else logits.new_zeros(1)


@pytest.mark.filterwarnings("ignore")  # of the exporter and of onnxscript
@pytest.mark.parametrize(("name", "dynamic"), CASES)
def test_onnxruntime_computes_the_same(name: str, dynamic: bool, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="an extra: pip install 'atc-toolkit[export]'")
    pytest.importorskip("onnxscript", reason="an extra: pip install 'atc-toolkit[export]'")
    model, file = WithSources(wrapped(name)).eval(), tmp_path / "model.onnx"
    shapes = ({0: BATCH},) if dynamic else None
    torch.onnx.export(model, (images(2),), str(file), dynamo=True, dynamic_shapes=shapes, verbose=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5) if dynamic else (2,):
        x = images(batch)
        logits, source = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            expected, sources = model(x)
        assert torch.equal(torch.from_numpy(source), sources)
        torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-6, rtol=1e-5)


LOAD = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
assert not [name for name in sys.modules if name.partition(".")[0] in ("atc", "reducers")]
torch.save(program(torch.load(sys.argv[2])), sys.argv[3])
"""


@pytest.mark.parametrize("name", [pytest.param("atc_average", marks=[pytest.mark.slow]), "kmedoids"])
def test_programs_load_without_atc(name: str, tmp_path: Path) -> None:
    model, x = wrapped(name), images(3)
    program, given, found = (tmp_path / file for file in ("model.pt2", "images.pt", "logits.pt"))
    torch.export.save(torch.export.export(model, (images(2),), dynamic_shapes=({0: BATCH},)), program)
    torch.save(x, given)
    subprocess.run([sys.executable, "-c", LOAD, program, given, found], cwd=tmp_path, check=True)
    with torch.no_grad():
        torch.testing.assert_close(torch.load(found), model(x))
