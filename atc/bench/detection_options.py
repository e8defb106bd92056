"""The command line of the benchmark of detectors. Imports no PyTorch: a mistake is answered at once."""

from __future__ import annotations

import argparse

from atc import provenance
from atc.bench.options import MODELS, Parser, check_methods, check_precision, machine, result_file, share, whole

PATCH = 16  # pixels along a side
HEADS = {"deit_tiny": 3, "deit_small": 6, "deit_base": 12}
_SQUARES = 2  # of tokens x tokens that attention holds at a time, where operations are counted


def detection() -> Parser:
    """The command line of `python -m atc.bench detection`."""
    found = Parser(
        prog="python -m atc.bench detection",
        description="Mask R-CNN on ViT-Adapter with reduced tokens beside the same without.",
    )
    found.add_argument("--model", default="deit_tiny", choices=MODELS)
    found.add_argument("--methods", nargs="+", default=["tome", "atc_average"], metavar="METHOD")
    found.add_argument("--keep-rates", type=share, nargs="+", default=[0.5], help="of the tokens that reach a stage")
    found.add_argument(
        "--size", type=whole(32, 8192), nargs=2, default=[800, 1333], metavar=("HEIGHT", "WIDTH"), help="pixels"
    )
    found.add_argument("--batch", type=whole(1, 4096), default=1)
    found.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of autocast")
    machine(found)
    found.set_defaults(runs=3)
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/detection_cpu.json")
    return found


PARSERS = {"detection": detection}


def parsed(name: str, arguments: list[str]) -> argparse.Namespace:
    """The arguments of the benchmark; ends the process after a mistake.

    Args:
        name: of `PARSERS`.
        arguments: those after the name.
    """
    command = PARSERS[name]()
    options = command.parse_args(arguments)
    options.size = tuple(options.size)
    check_precision(command, options)
    check_methods(command, options)
    height, width = padded(options.size)
    tokens = height * width // PATCH**2
    needed, there = _SQUARES * 4 * options.batch * HEADS[options.model] * tokens**2, provenance.memory()
    if options.device == "cpu" and there is not None and needed > there:
        command.error(
            f"--size {options.size[0]} {options.size[1]} with --batch {options.batch}: attention among {tokens:,} "
            f"tokens takes {needed / 1e9:,.0f} GB, this machine has {there / 1e9:,.0f}"
        )
    return options


def padded(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width as a batch has them: multiples of 32.

    Args:
        size: height and width of the images, in pixels.
    """
    height, width = (-(-side // 32) * 32 for side in size)
    return height, width
