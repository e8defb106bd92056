"""Mistakes beside settings files of one's own, which --config-dir adds; and in the option itself."""

from pathlib import Path

from tests.mistakes import Mistake


def _own(directory: Path) -> None:
    """A method, a data set, a backbone and a schedule under names that only this directory knows."""
    for group, text in {
        "reducer": "_target_: reducers.tome.ToMe\n_partial_: true\n",
        "datamodule": "_target_: datamodules.folder.Folder\nroot: nowhere\n",
        "backbone": "_target_: atc.vit.backbones.digits\npretrained: true\ncheckpoint: null\n",
        "schedule": "_target_: atc.core.schedule.Constant\nt: ${t}\n",
    }.items():
        (directory / "my conf" / group).mkdir(parents=True)
        (directory / "my conf" / group / "mine.yaml").write_text(text)


def _shipped_names(here: Path) -> None:
    """Files under names that ATC has, and an experiment with a typo."""
    for name, text in {
        "reducer/tome": "_target_: reducers.topk.TopK\n_partial_: true\n",
        "experiment/typo": "# @package _global_\nkeep_rat: 0.3\n",
    }.items():
        file = here / "my conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


_HIDDEN = "reducer=tome means ATC's own file, which hides my conf/reducer/tome.yaml: give that another name"
_DIRECTORY = ("--config-dir", "my conf")
_LINES = [
    ("train reducer=mine paths.output_dir=run", "'paths' has no setting 'output_dir'"),
    ("train backbone=mine keep_rat=0.5", "did you mean 'keep_rate'?"),
    ("evaluate schedule=mine keep_rate=[a]", "keep_rate"),
    ("evaluate datamodule=mine seed=x", "seed=x must be a whole number"),
    ("evaluate datamodule=mine backbone.depth=3", "'backbone' has no setting 'depth'"),
    ("visualise reducer=mine backbone=mine image=nowhere.png", "nowhere.png does not exist"),
    ("visualise reducer=mine image=nowhere.png lok=mean", "did you mean 'look'?"),
    ("bench throughput reducer=mine backbone=mine batch_siz=2", "did you mean 'batch_size'?"),
    ("bench throughput reducer=mine backbone=mine batch_size=0", "batch_size=0 must be"),
    ("check datamodule=mine datamodule.rot=x", "rot"),
    ("check datamodule=min", "did you mean 'mine'?"),
]
_WITH_SHIPPED = [
    *((f"{command} reducer=tome", _HIDDEN) for command in ("train", "evaluate", "bench throughput", "train -m")),
    ("visualise reducer=tome image=a.png", _HIDDEN),
    ("train experiment=typo", "unknown setting 'keep_rat': did you mean 'keep_rate'?"),
    ("evaluate -m experiment=typo seed=1,2", "unknown setting 'keep_rat': did you mean 'keep_rate'?"),
]
MISTAKES = [
    *(Mistake(line, (said,), _DIRECTORY, prepare=_shipped_names) for line, said in _WITH_SHIPPED),
    Mistake("evaluate reducer=tome", (_HIDDEN,), ("hydra.searchpath=['file://my conf']",), prepare=_shipped_names),
    *(Mistake(line, (said,), _DIRECTORY, prepare=_own) for line, said in _LINES),
    *(
        Mistake(f"{line} --config-dir nowhere", ("--config-dir nowhere: there is no such directory",))
        for line in ("visualise image=a.png", "bench throughput", "check datamodule=digits")
    ),
    Mistake("visualise image=a.png --config-dir", ("--config-dir needs a directory",), without_torch=True),
]
