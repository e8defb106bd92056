"""Machine code from the CUDA source beside this file, by NVRTC: compiled once, kept on disk.

Compiling needs no GPU, and takes a second or more for each kernel, linkage and input type.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from atc.files import write_whole
from atc.ops.linkage.cuda.bindings import arch, bindings, checked, newest_arch

FOLDER = Path(__file__).parent
# An image in shared memory, by one block; in device memory, by several; the same, for labels of single linkage only.
BLOCK, GRID, TREE = "kernel.cu", "grid.cu", "tree.cu"
METHOD = {"single": 0, "complete": 1, "average": 2, "ward": 3}
_INPUT = {torch.float32: "float", torch.float64: "double"}
_DIGEST = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


class Binary(NamedTuple):
    """A compiled kernel, and what the assembler says of it."""

    image: bytes
    report: str


@cache
def compiled(capability: tuple[int, int], source: str, method: str, dtype: torch.dtype) -> Binary:
    """Machine code for GPUs of a compute capability; from the disk, if it was compiled before.

    Args:
        capability: (9, 0) for an H100 or H200.
        source: ``BLOCK``, ``GRID`` or ``TREE``.
        method: single, complete, average or ward.
        dtype: of the distances, float32 or float64.

    Raises:
        RuntimeError: no cuda-bindings, or NVRTC refuses, with its log.
    """
    found = bindings()
    if found is None:
        raise RuntimeError("compiling for a GPU needs the cuda-bindings package and NVRTC")
    nvrtc, _ = found
    # A GPU younger than NVRTC gets assembly language, which its driver compiles.
    target = f"sm_{arch(capability)}" if arch(capability) <= newest_arch() else f"compute_{newest_arch()}"
    options = [
        f"--gpu-architecture={target}",
        "--std=c++17",
        "--fmad=false",
        f"-DATC_METHOD={METHOD[method]}",
        f"-DATC_INPUT={_INPUT[dtype]}",
        "--ptxas-options=-v",
    ]
    files = {path.name: path.read_bytes() for path in [FOLDER / source, *sorted(FOLDER.glob("*.h"))]}
    place = cached_at(files, options, checked(nvrtc.nvrtcVersion(), several=True))
    binary = None if place is None else _load(place)
    if binary is None:
        binary = _compile(nvrtc, files, options, target)
        if place is not None:
            _save(place, binary)
    return binary


def cached_at(files: dict[str, bytes], options: list[str], version: tuple[int, int]) -> Path | None:
    """Where a binary lies, by all that it depends on: sources, options (the architecture is one), NVRTC's version.

    The directory is that of ``ATC_CACHE``, else ``atc`` in that of ``XDG_CACHE_HOME`` (if that is absolute), else
    ``~/.cache/atc``; None for a user without a home.
    """
    known = hashlib.sha256(repr((version, options)).encode())
    for name, content in files.items():
        known.update(f"\n{name} {len(content)}\n".encode() + content)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(shared):
        shared = os.path.expanduser("~/.cache")
    own = os.environ.get("ATC_CACHE")
    if not own and not os.path.isabs(shared):
        return None
    return Path(own or os.path.join(shared, "atc")) / "linkage" / f"{known.hexdigest()}.bin"


def _load(place: Path) -> Binary | None:
    """The binary of a file that is whole; of any other file, or none, None."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    digest, rest = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    length = int.from_bytes(rest[:8], "little")
    return Binary(rest[8 + length :], rest[8 : 8 + length].decode())


def _save(place: Path, binary: Binary) -> None:
    """Whole or not at all, with a checksum. Where it cannot be written, each process compiles for itself."""
    report = binary.report.encode()
    rest = len(report).to_bytes(8, "little") + report + binary.image
    try:
        write_whole(place, hashlib.sha256(rest).digest() + rest)
    except OSError as error:
        _log.info("the compiled clustering kernel is not kept for the next process: %s", error)


def _compile(nvrtc: Any, files: dict[str, bytes], options: list[str], target: str) -> Binary:
    (_, text), *headers = files.items()
    names, texts = [name.encode() for name, _ in headers], [content for _, content in headers]
    program = checked(nvrtc.nvrtcCreateProgram(text, b"atc_linkage.cu", len(headers), texts, names))
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
        report = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode(errors="replace")
        report = re.sub(r"\n\s*\n", "\n", report).strip("\0\n ")
        if int(status):
            raise RuntimeError(f"NVRTC could not compile the clustering kernel for {target}: {report}")
        if target.startswith("sm_"):
            image = _read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        else:
            image = _read(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return Binary(image, report)


def _read(size_of: Callable[[Any], Any], get: Callable[[Any, bytes], Any], program: Any) -> bytes:
    size = checked(size_of(program))
    buffer = bytes(size + 1)  # written to; Python shares bytes of length one
    checked(get(program, buffer))
    return buffer[:size]
