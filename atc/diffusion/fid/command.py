"""FID and KID of generated images, their spread, and the CLIP score.

    python -m atc.diffusion.fid generated=DIRECTORY reference=DIRECTORY
    python -m atc.diffusion.fid generated=[seed0,seed1,seed2] reference=DIRECTORY output=fid.json
    python -m atc.diffusion.fid generated=DIRECTORY clip=openai/clip-vit-base-patch16

generated=            directory of the generated images; several in brackets are runs with other seeds
reference=            directory of the photographs, such as python -m atc.diffusion.reference makes; needed but for clip
weights=null          file of Inception's weights (weights-inception-2015-12-05-6726825d.pth, torch-fidelity's, or
                      pytorch-fid's); null = that of PyTorch's hub, which is downloaded once
resizer=clean         how images get their 299 x 299 pixels: clean, as in clean-fid, or torch_fidelity
features=inception    random: a small random network to try the command with; its distances mean nothing
clip=null             a CLIP model of transformers, a directory or the hub's name for it
prompts=null          JSON file from names of images to prompts; null = the images say so themselves
reference_subsets=5   parts of the reference, each compared with alone to see how far FID scatters; 1: none
resamples=500         of the bootstrap of KID
seed=0                of the bootstrap
batch_size=32         images that pass a network at once
device=null           cpu or cuda; null = a GPU if there is one
threads=null          that read images; null = one a core, at most 8
cache=null            directory where features are kept by the digest of an image's file; false: nowhere;
                      null = features/ in ATC_CACHE, else in ~/.cache/atc
output=null           JSON file to write the numbers to, with versions and machine

docs/fid.md says what each number is.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from atc import faults
from atc.config import streams
from atc.config.settings import Threads
from atc.config.written import check_not_read
from atc.diffusion import key_values
from atc.diffusion.fid import published
from atc.diffusion.image_directory import images_in
from atc.files import unwritable, write_json
from atc.printable import printable
from atc.values import Count, Seed, Whole

SETTINGS: dict[str, tuple[Any, Any]] = {  # annotation and default
    "generated": (os.PathLike[str] | Sequence[os.PathLike[str]], ...),
    "reference": (os.PathLike[str] | None, None),
    "weights": (os.PathLike[str] | None, None),
    "resizer": (Literal["clean", "torch_fidelity"], "clean"),
    "features": (Literal["inception", "random"], "inception"),
    "clip": (str | None, None),
    "prompts": (os.PathLike[str] | None, None),
    "reference_subsets": (Count, 5),
    "resamples": (Whole, 500),
    "seed": (Seed, 0),
    "batch_size": (Count, 32),
    "device": (str | None, None),
    "threads": (Threads | None, None),
    "cache": (bool | os.PathLike[str] | None, None),
    "output": (os.PathLike[str] | None, None),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 130 after Ctrl-C."""
    return streams.ended(lambda: _answer(list(sys.argv[1:] if arguments is None else arguments)))


def _answer(given: list[str]) -> int:
    if {"-h", "--help"} & set(given):
        print(__doc__)
        return 0
    try:
        _run(key_values.parsed(given, SETTINGS, "python -m atc.diffusion.fid"))
    except BrokenPipeError:
        raise
    except Exception as error:
        line = faults.told(error, "evaluate fid")
        if line is None and isinstance(error, ValueError | OSError):
            line = str(error)
        if line is None:
            traceback.print_exception(error)
            return 1
        print(f"error: {printable(line)}", file=sys.stderr)
        return 2
    return 0


def _run(settings: dict[str, Any]) -> None:
    output = settings.pop("output")
    check(settings, output)

    from atc import provenance
    from atc.diffusion.fid.comparing import compare  # imports PyTorch, which no mistake found above needs

    record = compare(settings.pop("generated"), settings.pop("reference"), **settings)
    print("\n".join(lines(record)))
    if output is not None:
        packages = (*provenance.PACKAGES, "pillow", "transformers")
        about = {**provenance.origin(), "versions": provenance.versions(packages)}
        write_json(output, {**record, "seed": settings["seed"], **about})


def check(settings: dict[str, Any], output: str | os.PathLike[str] | None) -> None:
    """ValueError or FileNotFoundError, one line, for what can be told without computing anything."""
    if settings["reference"] is None and settings["clip"] is None:
        raise ValueError("reference=DIRECTORY is needed for FID and KID (or clip=MODEL for the CLIP score alone)")
    directories = settings["generated"] if isinstance(settings["generated"], list) else [settings["generated"]]
    if not directories:
        raise ValueError("generated=[] names no directory of images")
    for directory in directories:
        images_in(directory)
    if settings["reference"] is not None:
        images_in(settings["reference"])
        if settings["weights"] is not None and settings["features"] == "inception":
            published.given_file(settings["weights"])
    if output is not None:
        if reason := unwritable(output):
            raise ValueError(f"output={output} {reason}")
        read = [("generated", each) for each in directories] + [("reference", settings["reference"])]
        check_not_read(f"output={output}", Path(output), [(key, settings[key]) for key in ("weights", "prompts")], read)


def lines(record: dict[str, Any]) -> list[str]:
    """A record as text, a number a line."""
    counts = ", ".join(f"{one['images']:,}" for one in record["generated"])
    found = [f"{counts} generated images"]
    if "fid" in record:
        found[0] += f" against {record['reference']['images']:,} of {record['reference']['directory']}"
        found.append(f"features: {record['features']}; resizer: {record['resizer']}")
        means = f"  mean of {_numbers(each)}" if (each := record["fid"].get("directories")) else ""
        found.append(f"FID   {_number(record['fid']['value'])}{means}")
        for key, said in (("seeds", "of other seeds"), ("reference_subsets", "against other photographs")):
            if one := record["fid"].get(key):
                values = f"{_numbers(one['values'])}; standard deviation {_number(one['std'])}"
                found.append(f"      {said}, {one['images']:,} images each: {values}")
        kid = record["kid"]
        interval = f"[{_number(kid['low'], 5)}, {_number(kid['high'], 5)}], 95 % of {kid['resamples']} resamples"
        found.append(f"KID   {_number(kid['value'], 5)}  {interval}")
    if score := record.get("clip_score"):
        error = "" if score["error"] is None else f" ± {score['error']:.3f}"
        found.append(f"CLIP  {score['value']:.3f}{error} ({score['model']})")
    return [printable(line) for line in found]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(map(_number, values))


def _number(value: float, digits: int = 3) -> str:
    """With so many digits behind the point; a number that has none of them there, with as many of its own."""
    return f"{value:.{digits}f}" if abs(value) >= 10**-digits else f"{value:.{digits}g}"
