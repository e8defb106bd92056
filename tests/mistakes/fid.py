"""python -m atc.diffusion.fid and .reference: settings that are none, and directories that cannot be compared."""

from pathlib import Path

from tests.mistakes import Mistake


def _images(directory: Path) -> None:
    from PIL import Image

    for name in ("one", "two", "half", "single"):
        (directory / name).mkdir()
        for number in range(1 if name == "single" else 3):
            Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(directory / name / f"{number}_0.png")
    (directory / "half" / "images.json").write_text('{"images": 4}')
    (directory / "empty").mkdir()
    (directory / "file").write_text("text")


def _given(line: str, *says: str, torch: bool = False) -> Mistake:
    return Mistake(f"fid {line}".strip(), says, prepare=_images, without_torch=not torch)


MISTAKES = [
    _given("", "generated=VALUE is missing", "--help"),
    _given("generated=one", "reference=DIRECTORY is needed"),
    _given("generated=one referense=two", "unknown setting referense", "did you mean reference?"),
    _given("one two", "one is no setting NAME=VALUE"),
    _given("--generated one", "--generated is no setting NAME=VALUE"),
    _given("generated=one generated=two reference=two", "generated is given twice"),
    _given("generated=none reference=two", "the directory none does not exist"),
    _given("generated=file reference=two", "file is a file, not a directory of images"),
    _given("generated=[] reference=two", "generated=[] names no directory"),
    _given("generated=[one,none] reference=two", "the directory none does not exist"),
    _given("generated=empty reference=two", "empty holds no images"),
    _given("generated=one reference=empty", "empty holds no images"),
    _given("generated=half reference=two", "half holds 3 images, its images.json says 4", "not finished"),
    _given("generated=one reference=half", "half holds 3 images, its images.json says 4", "not finished"),
    _given("generated=one reference=two resizer=bicubic", "resizer=bicubic must be clean or torch_fidelity"),
    _given("generated=one reference=two features=vgg", "features=vgg must be inception or random"),
    _given("generated=one reference=two batch_size=0", "batch_size=0 must be 1 or more"),
    _given("generated=one reference=two reference_subsets=two", "reference_subsets=two must be a whole number"),
    _given(
        "generated=one reference=two weights=none.pth", "weights=none.pth does not exist", "torch-fidelity/releases"
    ),
    _given("generated=one reference=two weights=one", "weights=one is a directory", "torch-fidelity/releases"),
    _given("generated=one reference=two output=two", "output=two is a directory"),
    _given(
        "generated=one reference=two weights=file",
        "file holds no weights that can be read (file is not a readable weight file: it is a text file)",
        "torch-fidelity/releases",
        torch=True,
    ),
    _given("generated=single reference=two features=random", "single holds 1 image", torch=True),
    _given("generated=one reference=two features=random device=tpu", "device=tpu is not there", torch=True),
    _given("generated=one clip=none", "0_0.png does not say the prompt", "prompts=FILE.json", torch=True),
    Mistake("reference", ("root=VALUE is missing",), without_torch=True),
    Mistake("reference root=one", ("output=VALUE is missing",), without_torch=True),
    Mistake("reference root=one output=two per_class=none", ("per_class=none must be",), without_torch=True),
    Mistake("reference root=one output=two source=zip", ("must be folders, webdataset or hf",), without_torch=True),
    Mistake("reference root=one output=file", ("output=file is a file",), prepare=_images),
    Mistake("reference root=none output=out", ("ImageNet is missing the folder none",), lines=12),
]
