"""The commands as a user meets them: one clear line for every mistake, no stack trace, exit status 2."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atc import cli
from tests.harness.commands import ROOT, TINY, command, environment

Ask = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command in this process and an empty directory: exit status, and what it said on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(entry: Callable[[], None], *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["atc", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            entry()
        return int(stop.value.code or 0), capsys.readouterr().err

    return run


MISTAKES = {
    "reducer=atc_averge": ["unknown reducer 'atc_averge'", "did you mean 'atc_average'?", "dpc_knn, "],
    "experiment=nothing": ["unknown experiment 'nothing'", "pretrain_digits"],
    "reducr=tome": ["unknown setting 'reducr'", "did you mean 'reducer'?"],
    "keep_rat=0.5": ["unknown setting 'keep_rat'", "did you mean 'keep_rate'?"],
    "trainer.max_epoch=3": [
        "'trainer' has no setting 'max_epoch'",
        "did you mean 'max_epochs'?",
        "+trainer.max_epoch=",
    ],
    "reducer.linkag=single": ["'reducer' has no setting 'linkag'", "did you mean 'linkage'?"],
    "optimizer.betas.first=1": ["there is no 'optimizer.betas' to have settings"],
    "~nothing": ["unknown setting 'nothing'"],
    "keep_rate": ["'keep_rate' is not of the form NAME=VALUE"],
    "--keep_rate=0.5": ["--keep_rate=0.5: settings have no dashes", "keep_rate=VALUE"],
    "blocks=4,7,10": ["blocks=4,7,10: a list is written blocks=[4,7,10]", "-m"],
    "blocks=4": ["blocks=4 must be a list of whole numbers of 1 or more, such as [4, 7, 10]"],
    "reducer=[tome,topk": ["cannot read reducer=[tome,topk: brackets and quotes come in pairs", "reducer=\"'TEXT'\""],
    "backbone=[digits,deit_tiny]": ["a run has one backbone; for one run each: -m backbone=digits,deit_tiny"],
    "reducer=[tome,topk]": ["a run has one reducer; for one run each: -m reducer=tome,topk"],
    "output_dir=here": ["output_dir=here is set when the run starts; to name its directory: hydra.run.dir=here"],
    "reducer=dpc": ["unknown reducer 'dpc'", "did you mean 'dpc_knn'?"],
    "datamodule.size=30": ["Input height (30) doesn't match model (28). Images have the size", "datamodule.size"],
    "benchmark.batch_size=0": ["benchmark.batch_size=0 must be 1 or more"],
    "experiment=null": ["experiment=null: an option of a group is left out with a tilde"],
    "seed=first": ["seed=first must be a whole number in [0, 4294967295]"],
    "optimizer.lr=fast": ["optimizer.lr=fast must be a number of 0 or more"],
    "trainer.max_epochs=ten": ["trainer.max_epochs=ten must be a whole number of -1 or more, or null"],
    "keep_rate=1.5": ["keep_rate=1.5 must lie in (0, 1]"],
    "keep_rate=abc": ["keep_rate=abc must be a number in (0, 1] or a list of numbers in (0, 1], or null"],
    "blocks=[4,40]": ["blocks=[4, 40] must lie in 1..12"],
    "reducer.linkage=centroid": ["reducer.linkage=centroid must be single, complete, average or ward"],
    "+reducer.colour=red": ["Agglomerative has no setting 'colour'"],
    "+trainer.colour=red": ["Trainer has no setting 'colour'"],
    "+datamodule.colour=red": ["datamodule: Digits has no setting 'colour'"],
    "selection=test_as_released": ["datamodule: Digits has no setting 'selection'"],
    "backbone=timm": ["backbone.name has no default", "backbone.name=..."],
    "backbone.checkpoint=weights.pth": ["weights.pth does not exist"],
    "resume=nowhere": ["resume=nowhere: no such file or run directory"],
    "checkpoint=last": ["unknown setting 'checkpoint'", "resume=last"],
    "resume=last": ["no run under", "has left a last.ckpt"],
    "datamodule=imagenet": ["ImageNet is missing", "PATH/val/n01440764", "image-net.org"],
    "trainer.precision=17": ["17"],
    "trainer.accelerator=abacus": ["trainer.accelerator=abacus must be auto, cpu, gpu, cuda or mps"],
    "trainer.fast_dev_run=maybe": ["'trainer' has no setting 'fast_dev_run'"],
    "trainer.num_nodes=0": ["trainer.num_nodes=0 must be 1 or more"],
    "trainer.max_epochs=0": ["trainer.max_epochs=0", "has to be positive"],
    "optimizer.opt=adamm": ["adamm"],
    "trainer.strategy=fsdp": ["`fsdp` requires a GPU accelerator"],
    "compile=fast": ["compile=fast must be true or false or settings as in {name: value}, or null"],
    "compile={mode:fast}": ["compile={'mode': 'fast'}: Unrecognized mode=fast", "max-autotune"],
    "compile={backend:gcc}": ["compile.backend=gcc is not one of PyTorch's", "inductor"],
    "compile={colour:red}": ["compile has no setting 'colour'"],
    "task.loss=hinge": ["task.loss=hinge must be bce, or null"],
    "trainer.limit_test_batches=0": ["trainer.limit_test_batches=0 leaves nothing to test"],
    "trainer.limit_train_batches=0": ["trainer.limit_train_batches=0 leaves nothing to train on"],
    "optimizer.sched=plateau": ["optimizer.sched=plateau waits for a metric", "sched=cosine"],
    "optimizer.sched=cosin": ["cosin"],
    "optimizer.lr_batch_normalizer=0": ["optimizer.lr_batch_normalizer=0 must be positive, or null"],
    "task.label_smoothing=2": ["task.label_smoothing=2 must lie in [0, 1]"],
    "resume=true": ["true names no run: resume=auto, resume=last or resume=PATH"],
    "task=multilabel": [
        "datamodule=digits has one label per image, task=multilabel takes several: task=classification"
    ],
    "optimizer.warmup_epochs=30": [
        "warmup_epochs=30 leaves nothing of trainer.max_epochs=",
        "optimizer.warmup_epochs=0",
    ],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_clear_line(ask: Ask, tmp_path: Path, mistake: str) -> None:
    status, said = ask(cli.train, *TINY, "baselines=false", mistake)
    assert "Traceback" not in said
    assert status == 2, said
    errors = said[said.index("error: ") :]
    for part in MISTAKES[mistake]:
        assert part in errors
    if mistake != "datamodule=imagenet":  # which shows the layout it expects
        assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["datamodule=shapes", "task=classification"],
            "datamodule=shapes has several labels per image, task=classification",
        ),
        (["datamodule=folder", "datamodule.transforms.auto_augment=foo"], "auto_augment=foo is no policy of timm's"),
        (["datamodule=shapes", "datamodule.train=0"], "datamodule.train=0 must be 1 or more"),
        (
            ["task.mixup=0.5", "datamodule.batch_size=7"],
            "pair images: a batch of 7 is odd; set datamodule.batch_size to",
        ),
    ],
)
def test_settings_that_do_not_go_together(ask: Ask, settings: list[str], said: str) -> None:
    status, line = ask(cli.train, *TINY, "baselines=false", *settings)
    assert (status, line.count("\n")) == (2, 1), line
    assert said in line


WITHOUT_TRAINING = {
    "optimizer.opt=adamm": "adamm",
    "optimizer.sched=plateau": "plateau",
    "+optimizer.opt_args.colour=red": "AdamW has no setting 'colour'",
    "trainer.max_epochs=0": "has to be positive",
    "trainer.limit_train_batches=0": "nothing to train on",
    "trainer.limit_test_batches=0": "nothing to test",
}


@pytest.mark.parametrize("mistake", WITHOUT_TRAINING)
def test_nothing_is_evaluated_before_a_training_that_cannot_begin(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    monkeypatch.setattr("lightning.Trainer.test", lambda *_, **__: pytest.fail("evaluated"))
    status, said = ask(cli.train, *TINY, mistake)
    assert (status, said.count("\n")) == (2, 1), said
    assert WITHOUT_TRAINING[mistake] in said
    assert not list(tmp_path.glob("runs/train/*"))


def test_mistakes_leave_nothing_behind(ask: Ask, tmp_path: Path) -> None:
    ask(cli.evaluate, "keep_rate=2")
    assert not list(tmp_path.glob("runs/evaluate/*"))


def test_nothing_to_test(ask: Ask) -> None:
    status, said = ask(cli.evaluate, *TINY, "trainer.limit_test_batches=0")
    assert status == 2
    assert said == "error: trainer.limit_test_batches=0 leaves nothing to test\n"


def test_a_count_out_of_reach_says_what_is(ask: Ask) -> None:
    status, said = ask(cli.evaluate, "reducer=tome", "keep_rate=0.25")
    assert status == 2
    assert "cannot leave 12 of 49 tokens at block 4: it reaches 25" in said
    assert "schedule.clamp=true" in said


@pytest.mark.parametrize("switch", ["debug=true", "HYDRA_FULL_ERROR"])
def test_the_stack_trace_can_be_had(ask: Ask, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    if switch == "HYDRA_FULL_ERROR":
        monkeypatch.setenv(switch, "1")
    status, said = ask(cli.evaluate, "keep_rate=2", *([switch] if "=" in switch else []))
    assert status == 1
    assert "Traceback" in said
    assert "must lie in (0, 1]" in said


def test_a_directory_on_the_command_line_is_no_setting(ask: Ask, tmp_path: Path) -> None:
    status, said = ask(cli.evaluate, "--config-dir", str(tmp_path), "output_dir=here")
    assert status == 2
    assert said.startswith("error: output_dir=here is set when the run starts")


def test_a_bug_keeps_its_stack_trace(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    from atc import run

    def broken(cfg: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(run, "evaluate", broken)
    status, said = ask(cli.evaluate)
    assert status == 1
    assert "KeyError: 'a bug'" in said


@pytest.mark.slow
def test_interrupted_from_the_keyboard_and_resumed_by_the_words_it_says(tmp_path: Path) -> None:
    endless = [*TINY, "trainer.max_epochs=100000", "baselines=false", "reducer=topk"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *endless],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    while not list(tmp_path.glob("runs/train/*/last.ckpt")):
        assert process.poll() is None, said + process.stdout.read()
    process.send_signal(signal.SIGINT)
    said += process.stdout.read()
    assert process.wait(60) == 128 + signal.SIGINT
    assert "Traceback" not in said
    (directory,) = tmp_path.glob("runs/train/*")
    assert f"to resume: python {ROOT / 'train.py'} resume={directory}" in said

    done = command("train.py", "resume=last", "trainer.max_epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("runs/train/*")) == [directory]
    assert "reducer" in done.stdout
    assert "topk, stages: keep_rate=0.5" in done.stdout
    assert f"outputs in {directory}" in done.stdout
    assert "topk" in (directory / "train.log").read_text()
    assert (directory / "weights.safetensors").is_file()
