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
LIBRARY = Path("atc/ops/linkage", "_native.dll" if sys.platform == "win32" else "_native.so")
# Windows: no cl, which lacks the vector types of the kernel.
COMPILERS = ("clang++", "g++") if sys.platform == "win32" else ("c++", "g++", "clang++")
FLAGS = [
    "-std=c++17",
    "-O3",
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
        build_data["tag"] = f"py3-none-{platform_tag()}"

    def clean(self, versions: list[str]) -> None:
        """Remove what was compiled."""
        (Path(self.root) / LIBRARY).unlink(missing_ok=True)


def compile_library(root: Path, output: Path | None = None, extra: tuple[str, ...] = ()) -> bool:
    """Compile to ``output``; False, with the reason in one line on stderr, where that is not possible."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        _say(f"no C++ compiler ({', '.join(COMPILERS)})")
        return False
    output = output or root / LIBRARY
    flags, linking = _of_system()
    kernels = [["-DATC_ISA=baseline"]]
    entry = []
    if _architecture() in ("x86_64", "amd64"):
        kernels.append(["-DATC_ISA=avx2", "-mavx2"])
        entry = ["-DATC_WITH_AVX2"]
    with tempfile.TemporaryDirectory() as folder:
        units = [(source, own) for source in ("kernel.cpp", "centres.cpp", "merge.cpp") for own in kernels]
        units.append(("linkage.cpp", entry))
        objects = [f"{folder}/{number}.o" for number in range(len(units))]
        commands = [
            [compiler, *FLAGS, *flags, *extra, *own, "-c", str(root / SOURCES / source), "-o", target]
            for (source, own), target in zip(units, objects, strict=True)
        ]
        partial = Path(folder, LIBRARY.name)
        commands.append([compiler, "-shared", *flags, *linking, *extra, *objects, "-o", str(partial)])
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            _say(next((line.strip() for line in lines if "error" in line), lines[0] if lines else str(error)))
            return False
        # Replaced, not overwritten: a running process may have the old one mapped.
        staged = output.with_suffix(".new")
        shutil.copyfile(partial, staged)
        staged.replace(output)
    return True


def platform_tag() -> str:
    """The system and processor that the library is for, as in the name of a wheel: linux_x86_64, macosx_11_0_arm64.

    That of Linux promises nothing about the C library; auditwheel replaces it by a manylinux tag.
    """
    if sys.platform == "darwin":
        return f"macosx_{_macos().replace('.', '_')}_{_architecture()}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _of_system() -> tuple[list[str], list[str]]:
    """Flags of this system, and more of them for linking."""
    if sys.platform == "win32":
        return [], ["-static"]  # the libraries of the compiler are not where the package goes
    if sys.platform == "darwin":
        return ["-fPIC", "-arch", _architecture(), f"-mmacosx-version-min={_macos()}"], []
    return ["-fPIC"], []


def _architecture() -> str:
    """The processor to compile for: this one; on macOS the one that ARCHFLAGS names, as build tools set it."""
    asked = os.environ.get("ARCHFLAGS", "").split() if sys.platform == "darwin" else []
    named = [asked[at + 1] for at, word in enumerate(asked[:-1]) if word == "-arch"]
    return named[0] if len(named) == 1 else platform.machine().lower()


def _macos() -> str:
    """The oldest macOS that the library is to run on."""
    version = os.environ.get("MACOSX_DEPLOYMENT_TARGET") or sysconfig.get_platform().split("-")[1]
    major, minor = [*version.split("."), "0"][:2]
    return "11.0" if _architecture() == "arm64" and int(major) < 11 else f"{major}.{minor}"


def _say(reason: str) -> None:
    print(
        f"atc: the clustering kernel is not compiled, the slower torch backend will be used: {reason}", file=sys.stderr
    )


if __name__ == "__main__":
    sys.exit(0 if compile_library(Path(__file__).parent) else 1)
