"""Wrapped models of transformers in what the library and others do with its models."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import atc
from tests.vit.pretrained import MODELS, pictures, pretrained, transformers


def wrapped(name: str = "ViTForImageClassification", reducer: str = "atc_average") -> Any:
    return atc.wrap(pretrained(name), reducer, 0.5, blocks=(2, 3))


class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        return {"pixel_values": torch.randn(3, 64, 64, generator=generator), "labels": index % 5, "file": "name"}


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
def test_trainer(tmp_path: Path, recompute: bool) -> None:
    pytest.importorskip("accelerate")
    try:
        trainer_class = transformers.Trainer
    except ImportError as error:  # it imports datasets, which may not fit the versions that are there
        pytest.skip(f"transformers.Trainer cannot be imported: {error}")
    model = wrapped(reducer="dpc_knn")
    args = transformers.TrainingArguments(
        str(tmp_path), max_steps=4, per_device_train_batch_size=4, gradient_accumulation_steps=2, report_to=[],
        use_cpu=True, save_steps=2, gradient_checkpointing=recompute, learning_rate=1e-2, disable_tqdm=True,
    )  # fmt: skip
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer = trainer_class(model=model, args=args, train_dataset=Examples(), eval_dataset=Examples())
    trainer.train()
    assert model.host.recomputes() == recompute
    assert not torch.equal(before["reducers.2.weight.weight"], model.reducers["2"].weight.weight)
    assert trainer.predict(Examples()).predictions.shape == (8, 5)
    assert trainer.evaluate()["eval_loss"] > 0
    again = wrapped(reducer="dpc_knn")
    trainer_class(model=again, args=args, train_dataset=Examples()).train(str(tmp_path / "checkpoint-4"))
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())


def test_pipeline() -> None:
    model, size = wrapped(), {"height": 64, "width": 64}
    processor = transformers.ViTImageProcessor(size=size)
    noise = np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8)
    found = transformers.pipeline("image-classification", model=model, image_processor=processor)(
        Image.fromarray(noise)
    )
    assert len(found) == 5
    assert sum(each["score"] for each in found) == pytest.approx(1)
    assert model.trace.tokens() == [8, 4]


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_saved_weights_are_the_plain_models(name: str, tmp_path: Path) -> None:
    model = atc.wrap(pretrained(name), "dpc_knn", 0.5, blocks=(2, 3))
    plain = atc.unwrap(model)
    next(iter(model.parameters())).add_(1)
    model.save_pretrained(tmp_path)
    again = type(plain).from_pretrained(tmp_path).eval()
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in again.state_dict().items())
    model.load_state_dict(again.state_dict())


def test_what_is_not_saved_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrapped(reducer="dpc_knn").save_pretrained(tmp_path)
    assert "the 66 numbers that its reducers learned are not among them" in caplog.text


@torch.no_grad()
def test_copies() -> None:
    model = wrapped()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(again) is type(model)
        assert again.host.trunk is again.host.model.vit is not model.host.model.vit
        assert torch.equal(again(pictures()).logits, model(pictures()).logits)
        again.host.trunk.layernorm.weight.zero_()
        assert not torch.equal(again(pictures()).logits, model(pictures()).logits)
    assert model.config is model.host.model.config
    assert (model.device.type, model.dtype) == ("cpu", torch.float32)


def test_adapters(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = wrapped()
    target = ["q_proj"] if hasattr(model.host.blocks[0].attn.module, "q_proj") else ["query"]
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=target, init_lora_weights=False))
    expected = adapted.eval()(pictures()).logits
    assert not torch.equal(wrapped()(pictures()).logits, expected)
    adapted.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(wrapped(), tmp_path).eval()
    assert torch.equal(again(pictures()).logits, expected)


@pytest.mark.slow
@torch.no_grad()
def test_compiled_and_exported() -> None:
    model = wrapped()
    expected: Tensor = model(pictures()).logits
    program = torch.export.export(model, (pictures(),))
    torch.testing.assert_close(program.module()(pictures()).logits, expected)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(pixel_values=pictures()).logits, expected)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ViTForImageClassification", "DINOv3ViTModel", "SiglipVisionModel"])
def test_exported_to_onnx(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = wrapped(name)
    expected = model(pictures())[0]
    torch.onnx.export(model, (pictures(),), tmp_path / "model.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    found = session.run(None, {session.get_inputs()[0].name: pictures().numpy()})
    (same,) = (torch.from_numpy(each) for each in found if each.shape == tuple(expected.shape))
    torch.testing.assert_close(same, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_libraries_are_imported_by_those_who_use_them() -> None:
    script = (
        "import sys, timm, atc\n"
        "atc.wrap(timm.create_model('vit_tiny_patch16_224', depth=4), 'tome', .5, blocks=(2,))\n"
        "assert not {'transformers', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
