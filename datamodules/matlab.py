"""Lists in MATLAB's format."""

import zlib
from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError


def read_mat(path: Path) -> dict[str, Any]:
    """The variables in a .mat file. ValueError names one that is damaged."""
    try:
        return loadmat(path, squeeze_me=True)
    except FileNotFoundError:
        raise
    except (OSError, MatReadError, ValueError, TypeError, LookupError, NotImplementedError, zlib.error) as error:
        raise ValueError(f"{path} is damaged, or no .mat file: {error}") from error
