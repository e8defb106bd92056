"""A run directory from somebody else: what its composed.yaml may not do, and what it goes on doing."""

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from atc.config import build
from atc.config.taken_over import with_saved
from atc.runs import directories
from tests.harness.commands import composed

Change = dict[str, Any]


@functools.cache
def base(name: str, *said: str) -> DictConfig:
    return composed(name, Path("/run"), *said)


def of(name: str, directory: Path, *said: str) -> DictConfig:
    """What the command composes; composing once serves many tests."""
    cfg = base(name, *said).copy()
    cfg.output_dir = str(directory)
    return cfg


def saved(directory: Path, changes: Change, name: str = "train", *said: str) -> Path:
    """A run directory whose configuration says `changes`, by dotted keys, besides what a run saves."""
    cfg = of(name, directory, *said)
    with open_dict(cfg):
        for key, value in changes.items():
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / directories.COMPOSED).write_text(OmegaConf.to_yaml(cfg))
    return directory


def taken(name: str, directory: Path, *said: str) -> DictConfig:
    """What the command builds of a run directory."""
    setting = "resume" if name == "train" else "checkpoint"
    overrides = [f"{setting}={directory}", *said]
    cfg = of(name, directory, *said)
    return with_saved(cfg, directory, overrides, directories.OF_THE_EVALUATION if name == "evaluate" else set())


def evil(marker: Path) -> dict[str, Any]:
    """A node that creates a file where it is built."""
    return {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(marker)]}}


MARKERS = {
    "torch.load": {"_target_": "torch.load", "f": "evil.pth", "weights_only": False},
    "numpy": {"_target_": "numpy.load", "file": "evil.npy", "allow_pickle": True},
    "joblib": {"_target_": "joblib.load", "filename": "evil.pkl"},
    "torch.hub": {"_target_": "torch.hub.load", "repo_or_dir": ".", "model": "evil", "source": "local"},
    "torch.save": {"_target_": "torch.save", "obj": "1", "f": "marker"},
    "copyfile": {"_target_": "shutil.copyfile", "src": "a", "dst": "marker"},
    "makedirs": {"_target_": "os.makedirs", "name": "marker"},
    "system": {"_target_": "os.system", "command": "touch marker"},
    "partial": {"_target_": "os.makedirs", "_partial_": True, "name": "marker"},
    "args": {"_target_": "os.makedirs", "_args_": ["marker"]},
    "sampler of another group": {"_target_": "optuna.samplers.TPESampler", "seed": 0},
    "trainer elsewhere": {"_target_": "lightning.pytorch.Trainer", "default_root_dir": "/marker"},
}
PLACES = [
    ("evaluate", "backbone"),
    ("evaluate", "reducer"),
    ("evaluate", "schedule"),
    ("evaluate", "task"),
    ("evaluate", "datamodule"),
    ("evaluate", "datamodule.transforms"),
    ("evaluate", "optimizer"),
    ("evaluate", "optimizer.opt_args"),
    ("evaluate", "backbone.norm_layer"),
    ("evaluate", "note"),
    ("train", "callbacks.progress"),
    ("train", "callbacks.another"),
    ("train", "logger"),
    ("train", "trainer.strategy"),
    ("train", "reducer"),
]


# Every target in two places at least, every place with several; those that a file of another group names, in all.
COMBINED = [
    (place, target)
    for number, target in enumerate(MARKERS)
    for shift, place in enumerate(PLACES[:5] + PLACES[-2:])
    if (number + shift) % 7 in (0, 3) or target in ("sampler of another group", "trainer elsewhere")
]


@pytest.mark.parametrize(
    ("place", "target"), COMBINED, ids=lambda said: said if isinstance(said, str) else "-".join(said)
)
def test_only_what_a_file_of_the_group_names_is_built(tmp_path: Path, place: tuple[str, str], target: str) -> None:
    name, key = place
    directory = saved(tmp_path, {key: MARKERS[target]})
    with pytest.raises(ValueError, match="is refused") as error:
        taken(name, directory)
    assert "\n" not in str(error.value)
    assert str(directory / directories.COMPOSED) in str(error.value)


@pytest.mark.parametrize(("name", "key"), PLACES, ids=lambda said: str(said))
def test_wherever_it_stands(tmp_path: Path, name: str, key: str) -> None:
    for node in (evil(tmp_path / "marker"), [evil(tmp_path / "marker")], {"a": [{"b": evil(tmp_path / "marker")}]}):
        directory = saved(tmp_path, {key: node})
        with pytest.raises(ValueError, match="is refused"):
            taken(name, directory)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone._target_": "${note}", "note": "os.makedirs"},
        {"backbone._target_": "os.${note}", "note": "makedirs"},
        {"backbone._target_": "${oc.select:.checkpoint,os.makedirs}"},
        {"reducer": "${note}", "note": {"_target_": "reducers.tome.ToMe", "_partial_": True}},
        {"datamodule.transforms": "${callbacks.best}"},
        {"datamodule.transforms": ["${callbacks.best}"]},
        {"datamodule.transforms": "${oc.select:.nothing,${callbacks.best}}"},
        {"datamodule.transforms": "${oc.create:'{_target_: os.makedirs, name: marker}'}"},
        {"backbone._recursive_": False},
        {"backbone._partial_": True},
        {"reducer._partial_": False},
        {"backbone._args_": ["marker"]},
        {"backbone._convert_": "object"},
        {"backbone._new_": 1},
        {"optimizer.opt_args._recursive_": False},
        {"backbone.checkpoint_path": "evil.pth"},
        {"backbone.pretrained_cfg": {"file": "evil.pth"}},
        {"choices": "text"},
        {"choices.reducer": ["a"]},
        {"choices.reducer": "a b\n"},
    ],
    ids=str,
)
def test_tricks(tmp_path: Path, changes: Change) -> None:
    directory = saved(tmp_path, changes)
    with pytest.raises(ValueError, match=r"is refused|must map each group"):
        taken("evaluate", directory)


@pytest.mark.parametrize(
    "changes",
    [
        {"callbacks.best.dirpath": "/elsewhere"},
        {"callbacks.best.dirpath": "elsewhere"},
        {"callbacks.best.dirpath": "${output_dir}/.."},
        {"callbacks.best.dirpath": "${note}", "note": "/elsewhere"},
        {"callbacks.best.filename": "../../elsewhere"},
        {"callbacks.best.filename": "${note}", "note": "../elsewhere"},
        {"callbacks.stop_safely.path": "~/elsewhere"},
        {"callbacks.stop_safely.path": "s3://bucket/last.ckpt"},
        {"logger.save_dir": "/elsewhere"},
        {"logger.name": "../elsewhere"},
        {"trainer.default_root_dir": "elsewhere"},
        {"trainer.plugins": ["fsdp"]},
        {"trainer.model_registry": "them/theirs"},
        {"logger.settings": {"base_url": "https://them"}},
        {"logger.entity": "them"},
    ],
    ids=str,
)
def test_nothing_is_written_or_sent_elsewhere(tmp_path: Path, changes: Change) -> None:
    directory = saved(tmp_path / "run", changes)
    with pytest.raises(ValueError, match="is refused"):
        taken("train", directory)
    key = next(iter(changes))  # what the user says is the user's own
    if "note" not in changes:
        value = changes[key]
        value = value if isinstance(value, str) else "null"
        taken("train", directory, f"++{key}='{value}'" if value != "null" else f"++{key}=null")


def test_the_programs_that_compile_are_not_chosen(tmp_path: Path) -> None:
    directory = saved(tmp_path / "run", {"compile": {"mode": "default", "options": {"cpp.cxx": ["evil.sh"]}}})
    with pytest.raises(ValueError, match=r"compile\.options=.* is refused"):
        taken("train", directory)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("${oc.env:SECRET}", "oc.env"),
        ("a${oc.env:SECRET}b", "oc.env"),
        ("${ oc.env : SECRET }", "oc.env"),
        ("${oc.env:SECRET,${seed}}", "oc.env"),
        ("${oc.decode:${oc.env:SECRET}}", "oc.env"),
        ("${oc.select:nothing,${oc.env:SECRET}}", "oc.env"),
        ("${oc.select:nothing,${oc.select:nothing,${oc.env:SECRET}}}", "oc.env"),
        ("${oc.create:[1]}", "oc.create"),
        ("${oc.dict.values:backbone}", "oc.dict.values"),
        ("${oc.deprecated:seed}", "oc.deprecated"),
        ("${hydra:runtime.cwd}", "hydra"),
        ("${run_dir:a,b}", "run_dir"),
        ("${${x}:SECRET}", "note"),
        ("\\${oc.env:SECRET}", "oc.env"),
        ("$${x}", "note"),
        ("${x}{oc.env:SECRET}", "note"),
        ("${x}${y}", "x="),
        ("${hydra.run.dir}", "hydra.run.dir"),
        ("${.env}", "datamodule"),
        ("${datamodule.env}", "oc.env"),
        ("${backbone}", "note"),
        ("${oc.select:backbone}", "note"),
        ("${" * 40, "composed.yaml"),
    ],
)
def test_only_references_within_the_file_are_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, named: str
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    changes = {"note": text, "x": "$", "y": "{oc.env:SECRET}", "datamodule.env": "${oc.env:SECRET}"}
    if "x" not in text:
        del changes["x"]
    if "env}" not in text:
        del changes["datamodule.env"]
    directory = saved(tmp_path, {})
    plain = OmegaConf.to_container(OmegaConf.load(directory / directories.COMPOSED))
    assert isinstance(plain, dict)
    env = changes.pop("datamodule.env", None)
    plain |= changes
    if env:
        plain["datamodule"]["env"] = env
    (directory / directories.COMPOSED).write_text(yaml.safe_dump(plain))
    with pytest.raises(ValueError, match=r"is refused|holds no settings") as error:
        taken("evaluate", directory)
    assert named in str(error.value)
    assert "hunter2" not in str(error.value)


def test_what_the_local_files_name_goes_on_working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets lie where ATC_DATA says here, whatever it said where the run was made."""
    directory = saved(tmp_path / "run", {"paths.store": "/theirs"}, "train", "datamodule=nabirds")
    monkeypatch.setenv("ATC_DATA", "/here")
    cfg = taken("evaluate", directory)
    assert cfg.datamodule.root == "/here/nabirds"
    assert cfg.paths.store != "/theirs"


def options() -> list[list[str]]:
    """Command lines that together choose every option of every group."""
    groups = ("backbone", "reducer", "schedule", "datamodule", "callbacks", "logger")
    names = {group: build.names(group) for group in groups}
    most = max(map(len, names.values()))
    mixed = [[f"{group}={names[group][i % len(names[group])]}" for group in groups] for i in range(most)]
    return [*mixed, *([f"experiment={name}"] for name in build.names("experiment"))]


@pytest.mark.parametrize("said", options(), ids=" ".join)
def test_honest_runs_load_as_they_were(tmp_path: Path, said: list[str]) -> None:
    directory = tmp_path / "run"
    if "backbone=timm" in said:
        said = [*said, "backbone.name=vit_tiny_patch16_224"]
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose("train", said, return_hydra_config=True)
        named = cfg.hydra.runtime.choices.items()
        choices = {key: value for key, value in named if "hydra" not in key and "@" not in key}
    with open_dict(cfg):
        del cfg["hydra"]
        cfg.output_dir, cfg.choices = str(directory), choices
    directories.save_config(cfg, directory)
    found = taken("train", directory)
    for key in set(cfg) - directories.OF_THE_COMMAND:
        assert OmegaConf.to_container(found, resolve=False)[key] == OmegaConf.to_container(cfg, resolve=False)[key]
    taken("evaluate", directory)


def test_the_command_line_may_name_it(tmp_path: Path) -> None:
    node = {"_target_": "lightning.pytorch.callbacks.DeviceStatsMonitor"}
    directory = saved(tmp_path, {"callbacks.stats": node})
    with pytest.raises(ValueError, match="DeviceStatsMonitor"):
        taken("train", directory)
    cfg = taken("train", directory, "+callbacks.stats._target_=lightning.pytorch.callbacks.DeviceStatsMonitor")
    assert cfg.callbacks.stats == node
    assert "stats" not in taken("train", directory, "callbacks=ema").callbacks


def test_a_directory_of_one_s_own_may_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config-dir, of which received runs within it are no part."""
    node = {"_target_": "collections.Counter", "_partial_": True}
    directory = saved(tmp_path / "run", {"reducer": node})
    (tmp_path / "mine" / "reducer").mkdir(parents=True)
    file = tmp_path / "mine" / "reducer" / "counter.yaml"
    (tmp_path / "mine" / "received").mkdir()
    header = "# @package reducer\n"
    (tmp_path / "mine" / "received" / "composed.yaml").write_text(header + OmegaConf.to_yaml(OmegaConf.create(node)))
    overrides = [f"checkpoint={directory}"]
    for there in (False, True):
        if there:
            file.write_text(OmegaConf.to_yaml(OmegaConf.create(node)))
        with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
            searchpath = f"hydra.searchpath=[file://{tmp_path / 'mine'}]"
            cfg = compose("evaluate", [*overrides, searchpath], return_hydra_config=True)
            monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg.copy())
            with open_dict(cfg):
                cfg.output_dir, cfg.choices = str(tmp_path), {}
                del cfg["hydra"]
            if there:
                assert with_saved(cfg, directory, overrides, directories.OF_THE_EVALUATION).reducer == node
            else:
                with pytest.raises(ValueError, match=r"collections\.Counter"):
                    with_saved(cfg, directory, overrides, directories.OF_THE_EVALUATION)
