"""``python -m atc.bench NAME [options]``: runs one benchmark and writes its result file."""

from __future__ import annotations

import importlib
import sys

from atc.bench import detection_options, diffusion_options, options
from atc.config import streams
from atc.extras import needs
from atc.printable import printable

BENCHMARKS = {
    "linkage": "atc.bench.linkage",  # distances in, labels out
    "pipeline": "atc.bench.pipeline",  # keys in, merged tokens out
    "throughput": "atc.bench.command",  # images in, logits out
    "dynamic": "atc.bench.dynamic",  # the same, where images keep different numbers of tokens
    "training": "atc.bench.training",  # images and labels in, updated weights out
    "export": "atc.bench.export",  # exported models, images in, logits out
    "detection": "atc.bench.detection",  # images in, boxes and masks out
    "diffusion": "atc.bench.diffusion",  # a prompt in, an image out
    "decisions": "atc.bench.decisions",  # tokens of a diffusion model in, labels out
    "start_up": "atc.bench.start_up",  # a command line in, the first line of its work out
    "targets": "atc.bench.targets",  # what result files say of the project's aims
}

# What a benchmark needs, and the extra that installs it.
NEEDS = {"export": (("onnxruntime", "export"), ("onnxscript", "export")), "diffusion": (("diffusers", "diffusion"),)}


def main(arguments: list[str]) -> None:
    """Run the benchmark that the first argument names; ends the process with 2 after a mistake, 130 after Ctrl-C."""
    if status := streams.ended(lambda: _run(arguments)):
        raise SystemExit(status)


def _run(arguments: list[str]) -> int:
    usage = f"usage: python -m atc.bench {{{','.join(BENCHMARKS)}}} [options]; --help for each"
    if arguments[:1] in (["-h"], ["--help"]):
        print(usage)
        return 0
    if not arguments or arguments[0] not in BENCHMARKS:
        unknown = f"unknown benchmark '{printable(arguments[0])}'" if arguments else "no benchmark is named"
        print(f"error: {unknown}; {usage}", file=sys.stderr)
        raise SystemExit(2)
    name, rest = arguments[0], arguments[1:]
    for of_several in (options, detection_options, diffusion_options):
        if name in of_several.PARSERS:
            of_several.parsed(name, rest)  # before PyTorch is imported
    if status := streams.in_one_line(lambda: _check_extras(name)):
        return status
    importlib.import_module(BENCHMARKS[name]).main(rest)
    return 0


def _check_extras(name: str) -> int:
    for module, extra in NEEDS.get(name, ()):
        needs(f"python -m atc.bench {name}", module, extra)
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
