"""A wrapped model in the libraries that users put models into."""

import os
from pathlib import Path

import pytest
import timm
import torch
import torch.multiprocessing as mp
from timm.data import resolve_model_data_config
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.optim.swa_utils import AveragedModel

import atc
from tests.vit.wrapped import images, vit, wrapped


def test_functional_call_and_vmap() -> None:
    model, x = wrapped(), images()
    expected = model(x)
    assert torch.equal(torch.func.functional_call(model, model.state_dict(), (x,)), expected)
    zeros = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    assert not torch.func.functional_call(model, zeros, (x,)).any()
    assert torch.equal(model(x), expected)
    one = torch.vmap(lambda image: model(image.unsqueeze(0)).squeeze(0))(x)
    torch.testing.assert_close(one, expected)


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


def test_distributed_checkpoints() -> None:
    model = wrapped("dpc_knn")
    state = get_model_state_dict(model)
    assert state.keys() == model.state_dict().keys()
    set_model_state_dict(model, {key: torch.zeros_like(value) for key, value in state.items()})
    assert not any(parameter.any() for parameter in model.parameters())


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


@pytest.mark.slow
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
