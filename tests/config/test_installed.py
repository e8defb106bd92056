"""A method in its author's own installed package, without any file of ours."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from hydra.core.config_store import ConfigStore

import atc
from atc import cli, methods
from atc.config import build

SOURCE = '''
import torch

from atc.core import Plan, Reducer, Select, TokenView


class First(Reducer):
    """Keeps the first patches."""

    def __init__(self, stage, skip: int = 0):
        super().__init__(stage)
        self.skip = skip

    def forward(self, view: TokenView, keep: int) -> Plan:
        print("skip", self.skip)
        batch, patches = view.x.shape[:2]
        index = (torch.arange(keep) + self.skip) % patches
        return Select(index.sort().values.expand(batch, -1), num_in=patches)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with an entry point, installed as pip would: importable, with its metadata beside it."""
    site = tmp_path / "site"
    info = site / "their_methods-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-methods\nVersion: 1.0\n")
    points = "their_first = their_methods:First\nbroken_one = their_methods:Nothing\n"
    (info / "entry_points.txt").write_text(f"[atc.reducers]\n{points}")
    (site / "their_methods.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(site))
    before = dict(ConfigStore.instance().repo.get("reducer", {}))
    yield site
    ConfigStore.instance().repo["reducer"] = before
    sys.modules.pop("their_methods", None)


def test_it_is_found_where_it_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed while the process runs, into a directory that has been looked into, and removed again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "theirs" not in methods.installed()
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[atc.reducers]\ntheirs = their_methods:First\n")
    assert methods.installed()["theirs"].value == "their_methods:First"
    shutil.rmtree(info)
    assert "theirs" not in methods.installed()


def test_a_name_that_is_taken_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[atc.reducers]\ntome = their_methods:First\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert methods.targets()["tome"] == "reducers.tome.ToMe"
    methods.targets()
    (record,) = caplog.records  # once
    told = "theirs brings a method 'tome', a name that a method of this toolkit has and keeps: give it another"
    assert record.getMessage() == told


def test_it_is_found_by_its_name(package: Path) -> None:
    assert {"their_first", "tome"} <= set(build.names("reducer"))
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=4, embed_dim=48, num_heads=3)
    model = atc.wrap(vit, "their_first", keep_rate=0.5, blocks=[2])
    model(torch.rand(2, 3, 32, 32))
    assert len(model.trace) == 1


def test_without_the_package_there_is_no_such_method() -> None:
    assert "their_first" not in build.names("reducer")


def test_a_broken_package_gets_one_line(package: Path) -> None:
    with pytest.raises(ValueError, match=r"'broken_one' \(their_methods:Nothing\) cannot be imported: .*Nothing"):
        build.find_reducer("broken_one")


@pytest.mark.parametrize("skip", [0, 3])
def test_evaluate_takes_it_with_arguments(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], skip: int
) -> None:
    monkeypatch.chdir(tmp_path)
    said = [
        "reducer=their_first",
        "trainer.limit_test_batches=1",
        "datamodule.eval_batch_size=8",
        "benchmark.seconds=0.02",
    ]
    said += [f"+reducer.skip={skip}"] if skip else []
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *said])
    cli.evaluate()
    out = capfd.readouterr().out
    assert f"skip {skip}" in out


def test_a_wrong_argument_gets_one_line(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "reducer=their_first", "+reducer.skpi=3"])
    with pytest.raises(SystemExit) as end:
        cli.evaluate()
    assert end.value.code == 2
    assert "skpi" in capfd.readouterr().err


def test_a_file_of_a_config_directory_goes_before(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine" / "reducer").mkdir(parents=True)
    file = tmp_path / "mine" / "reducer" / "with_five.yaml"
    file.write_text("_target_: their_methods.First\n_partial_: true\nskip: 5\n")
    monkeypatch.chdir(tmp_path)
    said = ["--config-dir", str(tmp_path / "mine"), "reducer=with_five", "trainer.limit_test_batches=1"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *said, "benchmark.seconds=0.02"])
    cli.evaluate()
    assert "skip 5" in capfd.readouterr().out


def test_pictures_and_benchmarks_take_it(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atc import visualise
    from atc.bench import command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["visualise", "image=digits:3", "reducer=their_first", "output=a.png"])
    visualise.main()
    assert (tmp_path / "a.png").is_file()
    little = ["batch_size=2", "seconds=0.01", "device=cpu", "output=a.json"]
    command.main(["backbone=digits", "reducer=[none,their_first]", *little])
    assert "their_first" in (tmp_path / "a.json").read_text()
