"""SViT in the detector: the authors' outputs in float64, and their checkpoints."""

import functools
from collections import OrderedDict

import numpy as np
import pytest
import torch

import atc
from atc.config.build import find_reducer
from atc.core import Stages
from atc.cost.flops import gflops_per_image
from atc.dense.build_detector import build_detector
from atc.run.loading import load
from tests import golden
from tests.dense.adapters import adapter, image, vit, weights
from tests.dense.test_mask_rcnn import released_names

GOLDEN = golden.outputs("svit")
GATES = {k[2:]: torch.from_numpy(v) for k, v in GOLDEN.items() if k.startswith("w.")}


def released(**settings):
    made = adapter("svit", 0.7, reducer_args={"eval_noise": False}, as_released=True, **settings)
    made.load_released(weights() | GATES)
    return made.double()


def close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("name", ["A", "B"])
def test_kept_patches_and_pyramids(name):
    made = released()
    with torch.no_grad():
        maps = made(image(name))
    for level in (2, 3):
        close(maps[str(level)][0], GOLDEN[f"{name}|eval|level{level}"])
    assert [stage.block for stage in made.trace] == list(range(4, 13))
    patches = made.trace[0].tokens_in
    for stage, bits, count in zip(
        made.trace, GOLDEN[f"{name}|eval|kept"], GOLDEN[f"{name}|eval|kept_count"], strict=True
    ):
        assert np.array_equal(stage.source[0].numpy() >= 0, np.unpackbits(bits)[:patches].astype(bool))
        assert stage.real(0) == stage.tokens_out == count  # no more is computed
    assert made.tokens_per_block() == [patches] * 3 + GOLDEN[f"{name}|eval|kept_count"].tolist()


@pytest.mark.parametrize("name", ["A", "B"])
def test_ratio_loss_and_its_gradient(name):
    made, one = released(), image(name)
    with torch.no_grad():
        expected = made(one)
    made.train()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    for gate in made.reducers.values():
        gate.noise = torch.ones(1, made.trace[0].tokens_in, 2)  # no Gumbel noise: -log(1)
    maps = made(one)
    for level, found in maps.items():
        torch.testing.assert_close(found, expected[level], rtol=0, atol=1e-12)  # both formulas are the same
    loss = made.losses()["ratio"]
    loss.backward()
    close(loss, GOLDEN[f"{name}|train_nonoise|ratio_loss"])
    close(
        made.reducers["6"].mlp.fc2.weight.grad, GOLDEN[f"{name}|train_nonoise|grad.selective_modules.2.mlp.fc2.weight"]
    )
    assert made.loss_weights == {"ratio": 4.0}


def test_a_batch_is_its_images():
    made, one = released(), image("B")
    both = torch.cat([one, one.flip(3)])
    with torch.no_grad():
        together = made(both)
        counts = [stage.count.tolist() if stage.count is not None else None for stage in made.trace]
        for number in range(2):
            alone = made(both[number : number + 1])
            for level, found in alone.items():
                torch.testing.assert_close(together[level][number], found[0], rtol=0, atol=1e-11)
    assert any(count is not None and count[0] != count[1] for count in counts)


def in_svits_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the authors call the parts of blocks, which are PyTorch's."""
    table = {
        "attn.qkv.weight": "self_attn.in_proj_weight",
        "attn.qkv.bias": "self_attn.in_proj_bias",
        "attn.proj.weight": "self_attn.out_proj.weight",
        "attn.proj.bias": "self_attn.out_proj.bias",
        "mlp.fc1.weight": "linear1.weight",
        "mlp.fc1.bias": "linear1.bias",
        "mlp.fc2.weight": "linear2.weight",
        "mlp.fc2.bias": "linear2.bias",
    }
    found = {}
    for name, value in state.items():
        front, number, rest = [*name.split(".", 2), "", ""][:3]
        moved = f"blocks.{number}.TransformerEncoderLayer.{table.get(rest, rest)}" if front == "blocks" else name
        found[f"backbone.{moved}"] = value
    return found


def test_a_released_backbone_loads():
    state = in_svits_names(weights() | GATES)
    assert "backbone.blocks.11.TransformerEncoderLayer.self_attn.in_proj_bias" in state
    assert "backbone.blocks.0.TransformerEncoderLayer.norm2.weight" in state
    made = adapter("svit", 0.7, reducer_args={"eval_noise": False}, as_released=True)
    made.load_released(OrderedDict(state))
    expected = released().state_dict()
    for name, value in made.double().state_dict().items():
        assert torch.equal(value, expected[name]), name
    dense = adapter("svit", 0.7)
    dense.load_released(weights())  # a fine-tuning starts from a detector without gates


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"selective_modules.3.norm.bias": None}, "lacks selective_modules.3.norm.bias"),
        ({"selective_modules.9.norm.bias": torch.zeros(48)}, "has also selective_modules.9.norm.bias"),
        ({"selective_modules.0.mlp.fc2.bias": torch.zeros(3)}, r"fc2.bias must be \[2\] .* has \[3\]"),
        (
            {"blocks.2.TransformerEncoderLayer.self_attn.bias_k": torch.zeros(48)},
            "has also blocks.2.self_attn.bias_k",
        ),
    ],
)
def test_other_weights_are_refused(change, message):
    state = {name: value for name, value in {**weights(), **GATES, **change}.items() if value is not None}
    made = adapter("svit", 0.7)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        made.load_released(state)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_gates_of_a_method_without_any_are_refused():
    with pytest.raises(ValueError, match=r"has also selective_modules\.0\.norm\.weight"):
        adapter("atc_average", 0.5).load_released(weights() | GATES)


def test_a_detector_learns_its_gates():
    body = adapter("svit", 0.7, (1, 3), vit(embed_dim=48, num_heads=3, depth=4))
    detector = atc.dense.mask_rcnn(body, 3, fpn_channels=16, head_channels=32, mask_channels=16).train()
    target = {
        "boxes": torch.tensor([[4.0, 4.0, 40.0, 44.0]]),
        "labels": torch.tensor([2]),
        "masks": torch.ones(1, 64, 64, dtype=torch.uint8),
    }
    detector.transform.min_size = (64,)
    losses = detector([torch.rand(3, 64, 64)], [target])
    (sum(losses.values()) + 4 * body.losses()["ratio"]).backward()
    for name, parameter in body.reducers.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def detector():
    sizes = {"fpn_channels": 16, "head_channels": 32, "mask_channels": 16, "mask_layers": 4}
    method = functools.partial(find_reducer("svit"), eval_noise=False)
    made, _ = build_detector(vit(), 3, method, Stages(0.7), True, conv_inplane=16, deform_heads=3, **sizes)
    return made.eval()


def test_a_released_detector_loads_as_a_checkpoint(tmp_path):
    made = detector()
    for name, value in made.state_dict().items():
        if value.is_floating_point() and "running_var" not in name:
            value.copy_(torch.randn_like(value))
    state = {name: value for name, value in released_names(made).items() if not name.startswith("backbone.")}
    state |= in_svits_names(
        {k: v for k, v in weights().items() if not k.startswith(("cls_token", "head", "norm."))} | GATES
    )
    torch.save({"meta": {"CLASSES": ("a", "b", "c")}, "state_dict": OrderedDict(state)}, tmp_path / "svit.pth")
    other = detector()
    (notice,) = load(other, tmp_path / "svit.pth")
    assert "weights of a detector of mmdet" in notice
    expected = released().state_dict()
    for name, value in other.adapter.double().state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert torch.equal(other.roi_heads.box_head.fc6.weight, made.roi_heads.box_head.fc6.weight)


@torch.no_grad()
def test_operations_of_a_detector_are_those_of_the_chosen_patches():
    made = detector()
    made.adapter.load_released(weights() | GATES)
    one = image("B").float()
    both = torch.cat([one, one.flip(3)])
    counted = gflops_per_image(made, both)
    assert made.trace.padded()
    assert counted == pytest.approx(sum(gflops_per_image(made, picture[None]) for picture in both) / 2, rel=1e-9)
