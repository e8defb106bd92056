"""The command lines of the benchmarks of clustering. Imports no PyTorch: a mistake is answered at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from atc import provenance
from atc.files import unwritable
from atc.printable import printable

LINKAGES = ("single", "complete", "average")
DATA = ("smooth", "independent")
MODELS = ("deit_tiny", "deit_small", "deit_base")
RATES = [0.25, 0.5, 0.7, 0.9]
MOST_THREADS = 1024
MOST_TOKENS_GPU = 1 << 16  # that of atc.ops.linkage.job
_COPIES = 4  # squares of distances that are held at a time: ours, the rivals', and what they make of it


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one line and exit status 2, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """End the process."""
        print(f"error: {printable(message)}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an argument that is a whole number of at least, and at most, so much."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            wanted = f"{least} or more" if most is None else f"from {least} to {most:,}"
            raise argparse.ArgumentTypeError(f"{text} must be a whole number, {wanted}")
        return value

    return number


def share(text: str) -> float:
    """A share of tokens to keep, as an argument."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must lie in (0, 1]")
    return value


def result_file(text: str) -> Path:
    """A file to write, as an argument; looked at before anything is measured."""
    path = Path(text)
    if reason := unwritable(path):
        raise argparse.ArgumentTypeError(f"{text} {reason}")
    return path


def linkage() -> Parser:
    """The command line of `python -m atc.bench linkage`."""
    found = Parser(
        prog="python -m atc.bench linkage",
        description="Clustering alone: distances in, labels out, against the libraries that can do the same.",
    )
    found.add_argument("--tokens", type=whole(2), nargs="+", default=[196, 98, 49, 1024, 4096])
    found.add_argument("--keep-rates", type=share, nargs="+", default=RATES)
    found.add_argument("--methods", nargs="+", choices=LINKAGES, default=list(LINKAGES))
    found.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    found.add_argument("--batch", type=whole(1), default=32, help="images of 196 tokens; fewer for more tokens")
    found.add_argument("--images", type=whole(1), help="so many, of however many tokens; instead of --batch")
    machine(found)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/linkage_cpu.json")
    return found


def pipeline() -> Parser:
    """The command line of `python -m atc.bench pipeline`."""
    found = Parser(
        prog="python -m atc.bench pipeline",
        description="Whole reduction steps: keys in, merged tokens out, and their share of the dense model's forward.",
    )
    found.add_argument("--model", default="deit_small", choices=MODELS)
    found.add_argument("--tokens", type=whole(2), default=196)
    found.add_argument("--keep-rates", type=share, nargs="+", default=RATES)
    found.add_argument(
        "--every-block", type=whole(0), default=0, metavar="T", help="remove T tokens at each of 12 blocks"
    )
    found.add_argument("--method", choices=LINKAGES, default="average")
    found.add_argument("--batch", type=whole(1), default=16)
    machine(found)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/pipeline_cpu.json")
    return found


def dynamic() -> Parser:
    """The command line of `python -m atc.bench dynamic`."""
    found = Parser(
        prog="python -m atc.bench dynamic",
        description="ATC up to a distance: the operations it saves, and how much of them becomes time.",
    )
    found.add_argument("--model", default="deit_tiny", choices=MODELS)
    found.add_argument("--weights", type=Path, help="weight file of the model; without it, weights are random")
    found.add_argument("--images", type=Path, help="folder of images; without it, images are drawn")
    found.add_argument("--keep-rates", type=share, nargs="+", default=RATES)
    found.add_argument("--method", choices=LINKAGES, default="average")
    found.add_argument("--calibrate", type=whole(1), default=64, help="images that thresholds are found on")
    found.add_argument("--batch", type=whole(1), default=32)
    machine(found)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/dynamic_cpu.json")
    return found


def export() -> Parser:
    """The command line of `python -m atc.bench export`."""
    found = Parser(
        prog="python -m atc.bench export",
        description="Exported models in onnxruntime against the same models in PyTorch, on the CPU.",
    )
    found.add_argument("--model", default="deit_tiny", choices=MODELS)
    found.add_argument("--keep-rate", type=share, default=0.5)
    found.add_argument("--batch", type=whole(1, 4096), default=8)
    found.add_argument("--threads", type=whole(1, MOST_THREADS), default=1)
    found.add_argument("--runs", type=whole(1), default=7)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/export_cpu.json")
    return found


def training() -> Parser:
    """The command line of `python -m atc.bench training`."""
    found = Parser(
        prog="python -m atc.bench training",
        description="Training steps of reduced models beside those of the dense model: steps per second, peak memory.",
    )
    found.add_argument("--model", default="deit_small", choices=MODELS)
    found.add_argument("--methods", nargs="+", default=["topk", "tome", "atc_average"], help="names of conf/reducer")
    found.add_argument("--keep-rate", type=share, default=0.5)
    found.add_argument("--batch", type=whole(1, 65536), default=128)
    found.add_argument("--size", type=whole(32, 4096), default=224, help="pixels of an image's side")
    found.add_argument("--precision", choices=["fp32", "bf16"], default="bf16", help="of autocast")
    found.add_argument("--modes", nargs="+", choices=["eager", "compiled"], default=["eager", "compiled"])
    machine(found)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/training_cuda.json")
    return found


PARSERS = {"linkage": linkage, "pipeline": pipeline, "dynamic": dynamic, "export": export, "training": training}


def parsed(name: str, arguments: list[str]) -> argparse.Namespace:
    """The arguments of a benchmark, with what no machine could measure refused; ends the process after a mistake."""
    command = PARSERS[name]()
    options = command.parse_args(arguments)
    if name in ("export", "dynamic"):
        return options
    if name == "training":
        _check_training(command, options)
        return options
    if name == "pipeline" and not 0 <= options.every_block < options.tokens:
        command.error(f"--every-block {options.every_block}: there are {options.tokens} tokens to begin with")
    most = max(options.tokens) if name == "linkage" else options.tokens
    if options.device == "cuda" and most > MOST_TOKENS_GPU:
        command.error(f"--tokens {most}: a GPU clusters up to {MOST_TOKENS_GPU} tokens")
    images = images_of(options, most) if name == "linkage" else options.batch
    size = "--batch" if getattr(options, "images", None) is None else "--images"
    needed, there = _COPIES * 4 * images * most**2, provenance.memory()
    if options.device == "cpu" and there is not None and needed > there:
        command.error(
            f"--tokens {most} with {size} {getattr(options, size[2:])}: the distances of {images:,} images take "
            f"{needed / 1e9:,.0f} GB, this machine has {there / 1e9:,.0f}"
        )
    return options


def _check_training(command: Parser, options: argparse.Namespace) -> None:
    if options.size % 16:
        command.error(f"--size {options.size} must be a multiple of 16, the side of a patch")
    check_methods(command, options)


def check_precision(command: Parser, options: argparse.Namespace) -> None:
    """End the process where --precision is none of the device's."""
    if options.precision == "fp16" and options.device == "cpu":
        command.error("--precision fp16 is for GPUs: on a CPU there are fp32 and bf16")


def check_methods(command: Parser, options: argparse.Namespace) -> None:
    """End the process where --methods names no method."""
    from atc.config import build  # loads Hydra, which no other of these command lines needs

    known = build.names("reducer")
    for method in options.methods:
        if method not in known:
            command.error(f"--methods {method}: {build.nearest(method, known)}")


def images_of(options: argparse.Namespace, tokens: int) -> int:
    """How many images of so many tokens `linkage` clusters at once."""
    return int(options.images or batch_of(options.batch, tokens))


def batch_of(batch: int, tokens: int) -> int:
    """Images of so many tokens that take the room of `batch` images of 196, at least one."""
    return max(1, min(batch, batch * 196**2 // tokens**2))


def machine(found: Parser) -> None:
    """Add where, with how many threads and how often to measure."""
    found.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    found.add_argument("--threads", type=whole(1, MOST_THREADS), default=1)
    found.add_argument("--runs", type=whole(1), default=7)
