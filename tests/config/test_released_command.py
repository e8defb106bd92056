"""The authors' released checkpoints on the command line, and where they are fetched from."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from atc.config import build
from atc.config import released as report
from atc.vit.backbones import SHIPPED_DIGITS, digits, read_weights
from atc.weights import released
from tests.config.test_released import states, write
from tests.harness.commands import TINY, command


@pytest.mark.slow
def test_the_command_takes_the_settings_and_the_command_line_overrides_them(tmp_path: Path) -> None:
    """A DeiT-Tiny, so that every setting is the file's; on digits, which only the command line says."""
    vit = timm.create_model("deit_tiny_patch16_224", num_classes=10)
    state = vit.state_dict()
    path = write(tmp_path / "best_checkpoint.pth", state, state, model="atc_tiny_patch16_224", linkage="single")
    small = [
        text for text in TINY if text.startswith(("trainer.limit_test", "trainer.acc", "datamodule.eval", "bench"))
    ]
    small = [text.replace("16", "2") for text in small]
    data = ["datamodule=digits", "keep_rate=0.5", "logger=none"]
    done = command("evaluate.py", f"checkpoint={path}", *data, *small, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "settings of the checkpoint: backbone=deit_tiny reducer=atc_single" in done.stdout
    assert "atc_single, stages: keep_rate=0.5, blocks=[4, 7, 10], as_released=True" in " ".join(done.stdout.split())
    assert "196 196 196 196 98 98 98 49 49 49 24 24" in " ".join(done.stdout.split())


COUNTS = {"model": "dpcknn_tiny_patch16_224", "reduction_ratio": [98, 49, 24], "equal_weight": True, "k_neighbors": 7}


@pytest.mark.parametrize(
    ("said", "reducer", "schedule"),
    [
        ([], {"equal_weight": True, "k": 7}, {"keep_rate": None, "keep": [98, 49, 24]}),
        (["keep_rate=0.9"], {"k": 7}, {"keep_rate": 0.9}),
        (["schedule.keep_rate=0.9"], {"k": 7}, {"keep_rate": 0.9}),
        (["+schedule.keep=[90,40,20]"], {"k": 7}, {"keep_rate": None, "keep": [90, 40, 20]}),
        (["schedule=constant", "t=8"], {"k": 7}, {"t": 8}),
        (["schedule=stages"], {"k": 7}, {"keep_rate": None, "keep": [98, 49, 24]}),
        (["reducer=topk"], {}, {"keep": [98, 49, 24]}),
        (["reducer=kmedoids"], {"iterations": 3}, {"keep": [98, 49, 24]}),
        (["reducer=dpc_knn"], {"equal_weight": True, "k": 7}, {"keep": [98, 49, 24]}),
        (["reducer=dpc_knn", "reducer.k=3"], {"equal_weight": True, "k": 3}, {"keep": [98, 49, 24]}),
    ],
)
def test_what_the_command_line_puts_in_the_place_of_the_settings(
    tmp_path: Path, said: list[str], reducer: dict[str, Any], schedule: dict[str, Any]
) -> None:
    path = write(tmp_path / "w.pth", *states(), **COUNTS)
    said = [f"checkpoint='{path}'", "datamodule=digits", *said]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose("evaluate", said)
        cfg.choices = {"reducer": None}
        found = report.with_settings(cfg, "evaluate", said)
    for part, expected in ((found.reducer, reducer), (found.schedule, schedule)):
        assert {key: part.get(key) for key in expected} == expected
    assert ("keep" in found.schedule) == ("keep" in schedule)
    build.instantiate(found.schedule)
    assert build.instantiate(found.reducer)


def test_addresses_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names: asked.append(names) or str(SHIPPED_DIGITS))
    assert released.local("hf://joakimbh/ATC/some/file.pth") == SHIPPED_DIGITS
    assert asked == [("joakimbh/ATC", "some/file.pth")]
    assert torch.equal(read_weights("hf://a/b/c.safetensors")["head.weight"], digits().head.weight)
    with pytest.raises(ValueError, match="hf://OWNER/REPO/FILE"):
        released.local("hf://joakimbh/ATC")


def test_without_a_network() -> None:
    with pytest.raises(ConnectionError, match="get the file by other means and name its path"):
        released.local("hf://joakimbh/ATC/nothing.pth")
