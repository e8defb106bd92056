"""The files of the project, without what somebody else has put beside them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows; outside of a checkout, all."""
    found = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        return [path for pattern in patterns for path in ROOT.rglob(pattern.rpartition("/")[2])]
    return [ROOT / name for name in found.stdout.splitlines()]
