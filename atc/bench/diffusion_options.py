"""The command lines of the benchmarks of diffusion models. Imports no PyTorch: a mistake is answered at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from atc import provenance
from atc.bench.options import Parser, check_methods, check_precision, machine, result_file, share, whole

TINY = "tiny"  # the small random pipeline of atc.diffusion.tiny
_SQUARES = 4  # of tokens x tokens that are held at a time


def diffusion() -> Parser:
    """The command line of `python -m atc.bench diffusion`."""
    found = Parser(
        prog="python -m atc.bench diffusion",
        description="Pipelines of diffusers: seconds an image with merged tokens, against the same pipeline without.",
    )
    found.add_argument(
        "--pipeline",
        default="stable-diffusion-v1-5/stable-diffusion-v1-5",
        help=f"a directory, or the hub's name for it; {TINY}: a small random one",
    )
    found.add_argument(
        "--sizes", type=whole(16, 4096), nargs="+", help=f"pixels; default 512 768 1024, {TINY}: 64 96 128"
    )
    found.add_argument("--methods", nargs="+", default=["tome_2d", "atc_average"], metavar="METHOD")
    found.add_argument("--keep-rates", type=share, nargs="+", default=[0.5])
    found.add_argument("--max-downsample", type=whole(1), default=1, help="1, as published; SDXL needs 2")
    found.add_argument("--steps", type=whole(1, 1000), default=50, help="of the sampler")
    found.add_argument("--precision", choices=["fp32", "fp16", "bf16"], help="default: fp16 on a GPU, fp32 on a CPU")
    machine(found)
    found.set_defaults(runs=3)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/diffusion_cpu.json")
    return found


def decisions() -> Parser:
    """The command line of `python -m atc.bench decisions`."""
    found = Parser(
        prog="python -m atc.bench decisions",
        description="What a block of a diffusion model decides from its tokens: distances, clustering, both.",
    )
    found.add_argument("--tokens", type=whole(2, 1 << 16), default=4096)
    found.add_argument("--channels", type=whole(1, 1 << 16), default=320)
    found.add_argument("--keep-rate", type=share, default=0.5)
    machine(found)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/decisions_cpu.json")
    return found


PARSERS = {"diffusion": diffusion, "decisions": decisions}


def parsed(name: str, arguments: list[str]) -> argparse.Namespace:
    """The arguments of one of these benchmarks; ends the process after a mistake.

    Args:
        name: of `PARSERS`.
        arguments: those after the name.
    """
    command = PARSERS[name]()
    options = command.parse_args(arguments)
    if name == "diffusion":
        _check_diffusion(command, options)
        return options
    needed, there = _SQUARES * 4 * options.tokens**2, provenance.memory()
    if options.device == "cpu" and there is not None and needed > there:
        command.error(
            f"--tokens {options.tokens}: distances take {needed / 1e9:,.0f} GB, this machine has {there / 1e9:,.0f}"
        )
    return options


def _check_diffusion(command: Parser, options: argparse.Namespace) -> None:
    for size in options.sizes or ():
        if size % 8:
            command.error(f"--sizes {size}: pixels must be a multiple of 8, the side of a latent pixel")
    place = Path(options.pipeline)
    if options.pipeline != TINY and place.exists() and not (place / "model_index.json").is_file():
        command.error(f"--pipeline {place}: there is no model_index.json in it, so no pipeline of diffusers")
    check_precision(command, options)
    check_methods(command, options)
