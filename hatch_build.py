"""Compile the clustering kernel when the package is built, if there is a compiler; without one, do nothing.

The kernel has a plain C interface and is loaded by ctypes: one library serves every version of Python and torch.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("atc/ops/linkage/native")
LIBRARY = Path("atc/ops/linkage/_native.so")
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # the same roundings on every processor
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-exceptions",
    "-fno-rtti",
    "-Wno-psabi",  # vectors never cross a function that is not inlined into its file
]


class LinkageBuildHook(BuildHookInterface[Any]):
    """Compiles the clustering kernel into the wheel, where there is a compiler."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before a wheel is built, and name the platform in its tag."""
        if self.target_name != "wheel" or os.environ.get("ATC_BUILD_NATIVE") == "0":
            return
        root = Path(self.root)
        if not compile_library(root):
            return
        build_data["artifacts"].append(f"/{LIBRARY}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def clean(self, versions: list[str]) -> None:
        """Remove what was compiled."""
        (Path(self.root) / LIBRARY).unlink(missing_ok=True)


def compile_library(root: Path, output: Path | None = None, extra: tuple[str, ...] = ()) -> bool:
    """Compile to ``output``; False, with the reason on stderr, where that is not possible."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if sys.platform == "win32" or compiler is None:
        print("atc: no C++ compiler, the slower torch clustering will be used", file=sys.stderr)
        return False
    output = output or root / LIBRARY
    kernels = [["-DATC_ISA=baseline"]]
    entry = []
    if platform.machine().lower() in ("x86_64", "amd64"):
        kernels.append(["-DATC_ISA=avx2", "-mavx2"])
        entry = ["-DATC_WITH_AVX2"]
    with tempfile.TemporaryDirectory() as folder:
        units = [("kernel.cpp", flags) for flags in kernels] + [("linkage.cpp", entry)]
        objects = [f"{folder}/{number}.o" for number in range(len(units))]
        commands = [
            [compiler, *FLAGS, *extra, *flags, "-c", str(root / SOURCES / source), "-o", target]
            for (source, flags), target in zip(units, objects, strict=True)
        ]
        partial = Path(folder) / "library.so"
        commands.append([compiler, "-shared", *extra, *objects, "-o", str(partial)])
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or error
            print(f"atc: compiling the clustering kernel failed, using torch instead: {reason}", file=sys.stderr)
            return False
        # Replaced, not overwritten: a running process may have the old one mapped.
        staged = output.with_suffix(".new")
        shutil.copyfile(partial, staged)
        staged.replace(output)
    return True


if __name__ == "__main__":
    sys.exit(0 if compile_library(Path(__file__).parent) else 1)
