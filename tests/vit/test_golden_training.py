"""Training as the authors' code has it: logits, every loss and its gradients, in float64 with given random numbers."""

import numpy as np
import pytest
import torch

import atc
from tests import golden

BLOCKS = ("4", "7", "10")
LABELS = "labels"


def load_learned(model: atc.ReducedViT, name: str) -> dict[str, str]:
    """Put the golden parameters of a learned method into a model; our names of them by the authors'."""
    known, ours = golden.outputs("stages_all_methods_params"), {}
    own = dict(model.named_parameters())
    for key, value in known.items():
        method, _, theirs = key.split("|")
        if method != name:
            continue
        for begins, with_ours in model.method.released_names.items():
            for number, block in enumerate(BLOCKS):
                start = begins.replace("{stage}", str(number))
                if theirs.startswith(start):
                    ours[theirs] = f"reducers.{block}.{with_ours}{theirs.removeprefix(start)}"
        with torch.no_grad():
            own[ours[theirs]].copy_(torch.from_numpy(value))
    return ours


def trained(
    reducer: str, name: str, noise: list[np.ndarray], teacher: bool, as_released: bool, images=slice(None), **arguments
):
    """A model after one backward pass, its losses, and our names of parameters."""
    model = atc.wrap(golden.vit(), reducer, 0.5, as_released=as_released, reducer_args=arguments).train()
    ours = load_learned(model, name)
    for block, draws in zip(BLOCKS, noise, strict=False):
        model.reducers[block].noise = torch.from_numpy(draws[images]).double()
    labels = torch.from_numpy(golden.outputs("training")[LABELS]).long()
    losses = atc.training_losses(model, golden.images()[images], labels[images], golden.vit() if teacher else None)
    losses["total"].backward()
    return model, losses, ours


def check_loss(found: torch.Tensor, tag: str, within: float = 1e-9) -> None:
    assert found.item() == pytest.approx(float(golden.outputs("training")[tag]), abs=within, rel=within)


def check_gradients(model: atc.ReducedViT, tag: str, ours: dict[str, str], within: float = 1e-7) -> None:
    expected = golden.outputs("training")
    own = dict(model.named_parameters())
    listed = {key.removeprefix(f"{tag}|grad|"): value for key, value in expected.items() if f"{tag}|grad|" in key}
    assert listed
    largest = max(np.abs(value).max() for value in listed.values())
    for theirs, value in listed.items():
        found = own[ours.get(theirs, theirs)].grad
        np.testing.assert_allclose(found.numpy(), value, rtol=0, atol=within * largest, err_msg=theirs)


def exponential() -> list[np.ndarray]:
    return list(golden.outputs("training")["dyvit|exponential"])


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize(("tag", "within"), [("dyvit_f64", 1e-9), ("dyvit_released", 1e-6)])  # float32 in attention
def test_dynamic_vit(tag, within, as_released):
    model, losses, ours = trained("dynamic_vit", "dyvit", exponential(), True, as_released)
    check_loss(losses["total"], f"{tag}|loss", within)
    for name, theirs in (("base", "base"), ("ratio", "ratio"), ("kd_cls", "kd_cls"), ("kd_token", "kd_token_mse")):
        check_loss(losses[name], f"{tag}|loss_{theirs}", within)
    check_gradients(model, tag, ours, 1e-7 if within < 1e-6 else 1e-5)
    for stage, trace in enumerate(model.trace, start=1):
        decided = golden.outputs("training")[f"{tag}|stage{stage}|decision"]
        np.testing.assert_array_equal(trace.valid.detach().numpy() > 0.5, decided > 0.5)


def test_dynamic_vit_without_a_teacher():
    _, losses, _ = trained("dynamic_vit", "dyvit", exponential(), False, False)
    assert set(losses) == {"base", "ratio", "total"}
    check_loss(losses["total"], "dyvit_f64_noteacher|loss")


def test_dynamic_vit_with_divergences_of_tokens():
    _, losses, _ = trained("dynamic_vit", "dyvit", exponential(), True, False, mse_token=False)
    check_loss(losses["kd_token"], "dyvit_f64|loss_kd_token_kl")
    check_loss(losses["total"], "dyvit_f64_tokenkl|loss")


def test_an_image_of_dynamic_vit_is_by_itself():
    _, losses, _ = trained("dynamic_vit", "dyvit", exponential(), True, False, images=slice(2, 3))
    check_loss(losses["total"], "dyvit_f64_image2|loss")


def test_dynamic_vit_in_evaluation():
    model = atc.wrap(golden.vit(), "dynamic_vit", 0.5, as_released=True)
    load_learned(model, "dyvit")
    with torch.no_grad():
        logits = model(golden.images()).numpy()
    np.testing.assert_allclose(logits, golden.outputs("stages_all_methods")["dyvit|r=0.5|logits"], rtol=1e-9, atol=1e-9)


SOFT = {"sit": "sit", "sinkhorn": "sinkhorn", "patchmerger": "patch_merger"}


@pytest.mark.parametrize("tag", SOFT)
def test_soft_methods_in_evaluation(tag):
    model = atc.wrap(golden.vit(), SOFT[tag], 0.5, as_released=True)
    load_learned(model, tag)
    expected = golden.outputs("stages_all_methods")
    with torch.no_grad():
        logits = model(golden.images()).numpy()
    np.testing.assert_allclose(logits, expected[f"{tag}|r=0.5|logits"], rtol=1e-9, atol=1e-9)
    for stage, trace in enumerate(model.trace, start=1):
        np.testing.assert_array_equal(trace.labels.numpy(), expected[f"{tag}|r=0.5|stage{stage}|Assignment_Maps"])


PLAIN = {"topk": "topk", "evit": "evit", "tome": "tome", "dpcknn": "dpc_knn", "ats_f64": "ats"} | SOFT


@pytest.mark.parametrize("tag", PLAIN)
def test_methods_without_losses_of_their_own(tag):
    noise = [golden.outputs("training")[f"dpcknn|uniform{stage}"] for stage in (1, 2, 3)] if tag == "dpcknn" else []
    model, losses, ours = trained(PLAIN[tag], tag, noise, False, True)
    assert set(losses) == {"base", "total"}
    check_loss(losses["total"], f"{tag}|loss")
    check_gradients(model, tag, ours)
