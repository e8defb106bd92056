"""A wrapped model is a module like any other: names, copies, optimisers, transforms, engines."""

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.multiprocessing as mp
from timm.data import resolve_model_data_config
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.optim.swa_utils import AveragedModel

import atc
from atc.vit.backbones import digits

METHODS = ("atc_average", "tome", "kmedoids", "dpc_knn", "topk", "evit", "random", "none")


def vit(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, depth=4, embed_dim=24, num_heads=2, num_classes=5, **settings
    ).eval()
    return made


def wrapped(name: str = "atc_average", model: nn.Module | None = None) -> atc.ReducedViT:
    return atc.wrap(vit() if model is None else model, name, 0.5, blocks=(2, 3))


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["atc_average", "dpc_knn"])
def test_one_set_of_names(name: str) -> None:
    host = vit()
    model = wrapped(name, host)
    parameters = dict(model.named_parameters())
    assert set(parameters) == set(model.state_dict())
    assert [key for key in parameters if not key.startswith("reducers.")] == [key for key, _ in host.named_parameters()]
    assert all(parameters[key] is value for key, value in host.named_parameters())
    assert {key for key, _ in host.named_modules()} <= {key for key, _ in model.named_modules()}
    assert not any(key.startswith("reducers") for key in host.state_dict())


def test_functional_call_and_vmap() -> None:
    model, x = wrapped(), images()
    expected = model(x)
    assert torch.equal(torch.func.functional_call(model, model.state_dict(), (x,)), expected)
    zeros = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    assert not torch.func.functional_call(model, zeros, (x,)).any()
    assert torch.equal(model(x), expected)
    one = torch.vmap(lambda image: model(image.unsqueeze(0)).squeeze(0))(x)
    torch.testing.assert_close(one, expected)


@pytest.mark.parametrize("name", METHODS)
def test_copies_after_a_training_forward(name: str) -> None:
    model = wrapped(name).train()
    model(images()).sum().backward()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again.state_dict().keys() == model.state_dict().keys()
        assert again.host.model is not model.host.model
        assert again.head.weight is again.host.model.head.weight
        assert torch.equal(again.eval()(images()), model.eval()(images()))
        with torch.no_grad():
            again.blocks[0].mlp.fc1.weight.zero_()
        assert not torch.equal(again(images()), model(images()))
        model.train()


@pytest.mark.parametrize("name", ["evit", "dpc_knn"])
def test_moving_averages(name: str) -> None:
    model = wrapped(name).train()
    model(images()).sum().backward()
    averages = ModelEmaV3(model, decay=0.5), AveragedModel(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01
    for average in averages:
        average.update(model) if isinstance(average, ModelEmaV3) else average.update_parameters(model)
        average.module.eval()
        assert torch.isfinite(average.module(images())).all()
    torch.testing.assert_close(averages[0].module.head.bias, model.head.bias - 0.005)


def test_timms_optimiser_groups() -> None:
    host, model = vit(), wrapped("dpc_knn")
    groups = create_optimizer_v2(model, opt="adamw", layer_decay=0.75, weight_decay=0.1).param_groups
    expected = create_optimizer_v2(host, opt="adamw", layer_decay=0.75, weight_decay=0.1).param_groups
    assert [(g["lr_scale"], g["weight_decay"]) for g in groups] == [
        (g["lr_scale"], g["weight_decay"]) for g in expected
    ]
    spared = [g for g in groups if g["weight_decay"] == 0]
    assert any(model.pos_embed is parameter for group in spared for parameter in group["params"])


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"])
def test_data_config(name: str) -> None:
    host = timm.create_model(name, pretrained=False, depth=2, embed_dim=24, num_heads=2)
    model = atc.wrap(host, "tome", 0.5, blocks=(1,))
    assert resolve_model_data_config(model) == resolve_model_data_config(host)
    assert model.pretrained_cfg is host.pretrained_cfg
    assert model.default_cfg["mean"] == host.default_cfg["mean"]


def test_the_surface_of_the_model() -> None:
    host = vit()
    model = wrapped("atc_average", host)
    for name in (
        "num_features",
        "num_classes",
        "embed_dim",
        "num_prefix_tokens",
        "global_pool",
        "patch_embed",
        "blocks",
    ):
        assert getattr(model, name) is getattr(host, name) or getattr(model, name) == getattr(host, name)
    assert model.no_weight_decay() == host.no_weight_decay()
    assert model.group_matcher() == host.group_matcher()
    assert model.get_classifier() is host.head
    model.set_grad_checkpointing()
    assert host.grad_checkpointing
    model.reset_classifier(7)
    assert (model.num_classes, model(images()).shape) == (7, (2, 7))
    assert model.state_dict()["head.weight"].shape == (7, 24)
    host.reset_classifier(3)  # on the model itself: the wrapper follows
    assert model.state_dict()["head.weight"].shape == (3, 24)
    assert model(images()).shape == (2, 3)
    model.head = nn.Linear(24, 9)
    assert host.head is model.head
    with pytest.raises(AttributeError, match=r"no prune_intermediate_layers: the model's own would run without"):
        model.prune_intermediate_layers(1)
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = model.colour


def test_features_and_head_mean_what_timms_mean() -> None:
    host = vit(global_pool="avg")
    dense, model = wrapped("none", host), wrapped("atc_average", host)
    assert torch.equal(dense.forward_features(images()), host.forward_features(images()))
    for shown in (dense, model):
        features = shown.forward_features(images())
        assert torch.equal(shown.forward_head(features), shown(images()))
        assert torch.equal(shown.head(shown.forward_head(features, pre_logits=True)), shown(images()))
    assert model.forward_features(images()).shape == (2, 1 + 4, 24)


def test_a_stream_can_be_stepped() -> None:
    model = wrapped()
    stream = model.start(images())
    counts = []
    for number in range(1, model.depth + 1):
        stream.step(number)
        counts.append(stream.num_tokens)
    assert counts == [16, 8, 4, 4]
    assert torch.equal(stream.finish(), model(images()))


def test_weights_on_other_types() -> None:
    double = wrapped("dpc_knn", vit().double())
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    assert double(images().double()).dtype == torch.float64
    assert wrapped("dpc_knn").to("meta").reducers["2"].weight.weight.is_meta


def test_whole_model_saved(tmp_path: Path) -> None:
    model = wrapped("dpc_knn")
    torch.save(model, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(again(images()), model(images()))


def test_state_dicts_of_before_and_plain_ones() -> None:
    model, other = wrapped("dpc_knn"), vit()
    nn.init.normal_(other.head.weight)
    assert not model.load_state_dict(other.state_dict()).missing_keys
    assert torch.equal(model.head.weight, other.head.weight)
    old = {key if key.startswith("reducers.") else f"vit.{key}": value + 1 for key, value in model.state_dict().items()}
    model.load_state_dict(old)
    assert torch.equal(model.head.weight, other.head.weight + 1)
    plain = atc.unwrap(model).state_dict()
    assert plain.keys() == vit().state_dict().keys()


def test_distributed_checkpoints() -> None:
    model = wrapped("dpc_knn")
    state = get_model_state_dict(model)
    assert state.keys() == model.state_dict().keys()
    set_model_state_dict(model, {key: torch.zeros_like(value) for key, value in state.items()})
    assert not any(parameter.any() for parameter in model.parameters())


@pytest.mark.parametrize("how", ["fx", "script"])
def test_what_reads_python_is_refused_in_a_line(how: str) -> None:
    trace = torch.fx.symbolic_trace if how == "fx" else torch.jit.script
    with pytest.raises(ValueError, match=r"cannot follow how a wrapped model chooses its tokens; torch\.export"):
        trace(wrapped())


def _with_adapters(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = wrapped("atc_average")
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["qkv"], modules_to_save=["head"]))
    assert sum(parameter.requires_grad for parameter in adapted.parameters()) == 4 * 2 + 2
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], 0.5)
    for _ in range(2):
        optimizer.zero_grad()
        adapted.train()(images()).square().sum().backward()
        optimizer.step()
    adapted.eval()
    expected = adapted(images())
    adapted.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(wrapped("atc_average"), tmp_path).eval()
    assert torch.equal(again(images()), expected)
    assert not torch.equal(wrapped("atc_average")(images()), expected)
    with pytest.raises(ValueError, match=r"wrap p\.get_base_model\(\)"):
        atc.wrap(peft.get_peft_model(vit(), peft.LoraConfig(target_modules=["qkv"])), "tome", 0.5)


def test_adapters_are_trained_saved_and_loaded(tmp_path: Path) -> None:
    _with_adapters(tmp_path)


def _train_on_two(rank: int, how: str, file: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    model = wrapped("atc_average").train()
    if how == "ddp":
        trained: nn.Module = nn.parallel.DistributedDataParallel(model)
    else:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        trained = fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(trained.parameters(), 0.1)
    trained(images(4)[2 * rank : 2 * rank + 2]).square().mean().backward()
    optimizer.step()
    state = model.state_dict()
    whole = {key: value.full_tensor() if hasattr(value, "full_tensor") else value for key, value in state.items()}
    if rank == 0:
        torch.save({key: value.detach().clone() for key, value in whole.items()}, f"{file}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("how", ["ddp", "fully_shard"])
def test_two_processes(how: str, tmp_path: Path) -> None:
    model = wrapped("atc_average").train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(images(4)).square().mean().backward()
    optimizer.step()
    mp.spawn(_train_on_two, args=(how, str(tmp_path / "store")), nprocs=2)
    found = torch.load(tmp_path / "store.pt")
    assert found.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


def test_hooks_and_patches_are_refused_by_name() -> None:
    def watch(*_: Any) -> None: ...

    host = vit()
    handle = host.blocks[1].register_forward_hook(watch)
    with pytest.raises(ValueError, match=r"block 2 \(Block\) has the hook .*watch, which would not run"):
        wrapped("tome", host)
    handle.remove()
    model = wrapped("tome", host)
    handle = host.blocks[2].attn.register_forward_pre_hook(watch)
    with pytest.raises(ValueError, match=r"the attention of block 3 \(Attention\) has the hook"):
        model(images())
    handle.remove()
    calls: list[int] = []
    host.blocks[2].mlp.register_forward_hook(lambda *_: calls.append(1))
    model(images())
    assert calls == [1]
    patched = vit()
    patched.blocks[0].attn.forward = lambda x: x
    with pytest.raises(ValueError, match=r"the forward of the attention of block 1 \(Attention\) was replaced"):
        wrapped("tome", patched)


def test_subclasses_and_compiled_models() -> None:
    class Own(timm.models.vision_transformer.VisionTransformer):
        def forward_features(self, x: Tensor) -> Tensor:
            return x

    class Positions(timm.models.vision_transformer.VisionTransformer):
        def _pos_embed(self, x: Tensor) -> Tensor:
            return super()._pos_embed(x) + 1

    small: dict[str, Any] = {"img_size": 64, "depth": 4, "embed_dim": 24, "num_heads": 2, "num_classes": 5}
    with pytest.raises(ValueError, match="Own has a forward_features of its own"):
        wrapped("tome", Own(**small))
    moved = Positions(**small).eval()
    assert torch.equal(wrapped("none", moved)(images()), moved(images()))
    with pytest.raises(ValueError, match=r"it is compiled; wrap the model that was compiled \(model\._orig_mod\)"):
        wrapped("tome", torch.compile(vit()))
    in_place = vit()
    in_place.compile(backend="eager")
    with pytest.raises(ValueError, match=r"compiled in place"):
        wrapped("tome", in_place)


def test_patch_dropout_is_fine_in_evaluation() -> None:
    model = wrapped("tome", vit(patch_drop_rate=0.25))
    assert model(images()).shape == (2, 5)
    with pytest.raises(ValueError, match="patch_drop_rate=0 to train it"):
        model.train()(images())


def test_digits_still_learns() -> None:
    model = atc.wrap(digits(), "dpc_knn", 0.5).train()
    model(torch.randn(2, 3, 28, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
