"""``python -m atc.bench NAME [options]``: runs one benchmark and writes its result file."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = {
    "linkage": "atc.bench.linkage",  # distances in, labels out
    "pipeline": "atc.bench.pipeline",  # keys in, merged tokens out
    "throughput": "atc.bench.forward",  # images in, logits out
    "targets": "atc.bench.targets",  # what result files say of the project's aims
}


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] not in BENCHMARKS:
        raise SystemExit(f"usage: python -m atc.bench {{{','.join(BENCHMARKS)}}} [options]; --help for each")
    importlib.import_module(BENCHMARKS[arguments[0]]).main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
