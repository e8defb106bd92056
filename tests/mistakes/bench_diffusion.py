"""python -m atc.bench diffusion and decisions: options that nothing could be measured with."""

from pathlib import Path

from tests.mistakes import Mistake


def _folder(directory: Path) -> None:
    (directory / "folder").mkdir()


_LINES = [
    ("diffusion --sizes 100", "--sizes 100: pixels must be a multiple of 8"),
    ("diffusion --sizes 8", "--sizes: 8 must be a whole number, from 16"),
    ("diffusion --pipeline folder", "--pipeline folder: there is no model_index.json"),
    ("diffusion --methods tome2d", "--methods tome2d", "did you mean 'tome_2d'?"),
    ("diffusion --keep-rates 0", "--keep-rates: 0 must lie in (0, 1]"),
    ("diffusion --steps 0", "--steps: 0 must be a whole number"),
    ("diffusion --precision fp16", "--precision fp16 is for GPUs"),
    ("diffusion --precision int8", "invalid choice: 'int8'"),
    ("diffusion --out folder", "--out: folder is a directory"),
    ("decisions --tokens 1", "--tokens: 1 must be a whole number"),
    ("decisions --tokens 65536", "GB, this machine has"),
    ("decisions --keep-rate 1.5", "--keep-rate: 1.5 must lie in (0, 1]"),
    ("decisions --channels 0", "--channels: 0 must be a whole number"),
]
MISTAKES = [
    *(Mistake(f"bench {line}", tuple(says), prepare=_folder, without_torch=True) for line, *says in _LINES),
    Mistake("bench diffusion --pipeline no/such", ("--pipeline no/such: ",), slow=True),
]
