"""The compiled kernel as a program: threads, memory, building, and doing without it."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from atc.ops.linkage import METHODS, cpu, effort, labels, labels_among_neighbours, ranges
from tests.ops.conftest import ROOT, build_module
from tests.reference.distances import batch

NATIVE = ROOT / "atc/ops/linkage/native"
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(ranges, "_CELLS_A_THREAD", 1)  # however little there is to do
    monkeypatch.setattr(ranges, "_CELLS_A_RANGE", 1)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_threads_does_not_matter(kernel, two_threads, method):
    distance = torch.cat([batch(98, seed=seed) for seed in range(3)])
    two_threads(1)
    expected = cpu.cluster(distance, 30, method, want_merges=True)
    for threads in (2, 5, 64):
        two_threads(threads)
        found = cpu.cluster(distance, 30, method, want_merges=True)
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.merges, expected.merges)


def test_callers_may_be_threads_themselves(kernel, two_threads):
    two_threads(2)
    distance = batch(98, ["regions"] * 16)
    expected = {keep: labels(distance, keep, "average") for keep in range(10, 90, 10)}
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(expected, pool.map(lambda keep: labels(distance, keep, "average"), expected), strict=True))
    assert all(torch.equal(found[keep], expected[keep]) for keep in expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(kernel, two_threads):
    two_threads(2)
    distance = batch(98, ["regions"] * 16)
    expected = labels(distance, 20, "average")  # starts the threads, which a child does not inherit
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(not torch.equal(cpu.cluster(distance, 20, "average").labels, expected))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_is_lent_again_for_other_sizes(kernel):
    for tokens in (300, 3, 1500, 20):
        distance = batch(tokens, ["regions"])
        assert labels(distance, 2, "average").unique().tolist() == [0, 1]


# Measured on these seeds: 2.0, 1.9 and 2.0 rescans a merge, 3.0 squares read; early stopping reads 0.3. A scan
# that becomes too eager, or a bound that becomes too weak, shows here without a stopwatch.
@pytest.mark.parametrize("method", ["complete", "average", "ward"])
def test_effort_on_image_like_data(kernel, method):
    distance = batch(196, ["regions"] * 16)
    many, few = effort(distance, 49, method), effort(distance, 176, method)
    assert (many.merges == 147).all()
    assert many.rescans_per_merge.mean() < 2.2
    assert many.cells_per_square.mean() < 3.2
    assert many.replays_per_merge.mean() < 125
    assert few.cells_per_square.mean() < 0.33


def test_average_linkage_is_exact_where_float32_is_not(kernel):
    """The float32 kernel settles its doubts as the float64 one decides, which is asked for by asking for merges."""
    settled = 0
    for tokens, keep in [(17, 4), (40, 20), (97, 70), (196, 49)]:
        distance = batch(tokens, ["regions", "near_ties", "near_ties_off_grid", "duplicates", "features"] * 2)
        steps = torch.randint(40 * tokens**2, (tokens, tokens), generator=torch.Generator().manual_seed(tokens))
        distance[0] = 0.5 + steps * 2.0**-24  # close, but seldom too close to tell
        exact = cpu.cluster(distance, keep, "average", want_merges=True)
        found = cpu.cluster(distance, keep, "average", want_counters=True)
        assert torch.equal(found.labels, exact.labels), f"{tokens} tokens"
        settled += int((found.counters[:, 4] * (1 - found.counters[:, 5])).sum())
    assert settled > 3


def test_image_like_data_leaves_float32_in_little_doubt(kernel):
    found = effort(batch(196, ["regions"] * 16), 49, "average")
    assert found.restarts.sum() == 0
    assert found.doubts.mean() < 1


def test_single_linkage_reads_the_square_once_or_less(kernel):
    distance = batch(98, ["regions"] * 4)
    assert (effort(distance, 24, "single").cells_per_square == 1).all()
    assert (effort(distance, 49, "single").cells_per_square < 0.5).all()
    assert (effort(distance, 88, "single").cells_per_square < 0.1).all()
    assert effort(distance, 49, "single").rescans_per_merge.sum() == 0


def test_single_linkage_of_more_near_pairs_than_there_is_room_for(kernel):
    """Half of the tokens are all near each other, the others far: nearest neighbours say little about the pairs."""
    for tokens in (200, 333):
        distance = torch.rand(2, tokens, tokens, generator=torch.Generator().manual_seed(tokens)).mul(0.1).add(0.4)
        distance[:, : 2 * tokens // 3, : 2 * tokens // 3] /= 10
        for keep in (tokens // 2, 9 * tokens // 10):
            expected = cpu.cluster(distance, keep, "single", algorithm="prim").labels
            for avx2 in (True, False):
                found = cpu.cluster(distance, keep, "single", avx2=avx2, want_counters=True)
                assert torch.equal(found.labels, expected)
        assert (
            cpu.cluster(distance, 9 * tokens // 20 + 1, "single", want_counters=True).counters[:, 2] == tokens**2
        ).all()


def test_without_the_kernel_the_torch_backend_answers_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(cpu, "LIBRARY", Path("/nowhere/_native.so"))
    cpu.kernel.cache_clear()
    try:
        distance = batch(20, ["regions"] * 2)
        with caplog.at_level(logging.WARNING, logger="atc"):
            found = labels(distance, 5, "average")
            labels(distance, 6, "average")
        assert torch.equal(found, labels(distance, 5, "average", backend="reference"))
        assert len(caplog.records) == 1
        assert "no compiled clustering kernel, using the slower torch backend" in caplog.text
        with pytest.raises(RuntimeError, match=r"/nowhere/_native\.so could not be loaded"):
            labels(distance, 5, "average", backend="cpu")
    finally:
        cpu.kernel.cache_clear()


def test_a_kernel_with_another_interface_is_not_used(kernel, monkeypatch, caplog):
    monkeypatch.setattr(cpu, "ABI", -1)
    cpu.kernel.cache_clear()
    try:
        assert cpu.kernel() is None
        assert "using the slower torch backend: reinstall the package" in caplog.text
    finally:
        cpu.kernel.cache_clear()


@needs_compiler
def test_an_older_kernel_without_neighbours_is_said_to_be_once(kernel, monkeypatch, caplog, tmp_path):
    """A library of before: the same interface, without the function that reducer=dhtm needs."""
    source, library = tmp_path / "older.c", tmp_path / "older.so"
    source.write_text(f"int atc_linkage_version(void) {{ return {cpu.ABI}; }} int atc_linkage(void) {{ return 0; }}")
    subprocess.run([COMPILER, "-x", "c", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    monkeypatch.setattr(cpu, "LIBRARY", library)
    both = (cpu.kernel, cpu.kernel_among, cpu.of_library)
    for one in both:
        one.cache_clear()
    try:
        distance, near = batch(20, ["regions"]), torch.ones(1, 20, 20, dtype=torch.bool)
        for _ in range(2):
            found = labels_among_neighbours(distance, near, 5, "average")
        assert torch.equal(found, labels(distance, 5, "average", backend="reference"))
        assert [record.name for record in caplog.records] == ["atc.ops.linkage.cpu"]
        assert "reducer=dhtm" in caplog.text
        assert "using the slower torch backend: reinstall the package" in caplog.text
    finally:
        for one in both:
            one.cache_clear()


def test_the_compiled_kernel_needs_no_newer_c_library_than_is_said(kernel):
    """The versions of symbols that it asks for; docs/releases.md names the newest, which decide on the wheel's tag."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("symbols have versions on Linux, others on other processors")
    needs = set(re.findall(rb"\0(GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)(?=\0)", cpu.LIBRARY.read_bytes()))
    newest: dict[str, tuple[int, ...]] = {}
    for name, version in needs:
        number = tuple(int(part) for part in version.decode().split("."))
        newest[name.decode()] = max(newest.get(name.decode(), ()), number)
    assert newest == {"GLIBC": (2, 14), "CXXABI": (1, 3, 7), "GCC": (3, 4)}
    assert "GLIBC_2.14" in (ROOT / "docs" / "releases.md").read_text()
    manylinux = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]["linux"]
    assert manylinux["manylinux-x86_64-image"] == "manylinux_2_28"  # PyTorch's own wheels need 2.28


def test_building_without_a_compiler_is_no_error(monkeypatch, tmp_path, capfd):
    build = build_module()
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert build.compile_library(ROOT, tmp_path / "_native.so") is False
    monkeypatch.setenv("CXX", "false")
    assert build.compile_library(ROOT, tmp_path / "_native.so") is False
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert build.compile_library(ROOT, tmp_path / "_native.so") is False
    assert not list(tmp_path.iterdir())
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    told = "atc: the clustering kernel is not compiled, the slower torch backend will be used: "
    assert all(line.startswith(told) for line in lines)
    assert "/nowhere/c++" in lines[0]
    assert lines[2] == told + "no C++ compiler (c++, g++, clang++)"


def test_how_it_is_compiled_on_other_systems(monkeypatch):
    build = build_module()
    monkeypatch.setattr(build.platform, "machine", lambda: "arm64")
    for name in ("ARCHFLAGS", "MACOSX_DEPLOYMENT_TARGET"):
        monkeypatch.delenv(name, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(build.sys, "platform", "darwin")
        patch.setattr(build.sysconfig, "get_platform", lambda: "macosx-10.9-universal2")
        assert build.platform_tag() == "macosx_11_0_arm64"  # of one processor, whatever Python was built for
        assert build._of_system()[0] == ["-fPIC", "-arch", "arm64", "-mmacosx-version-min=11.0"]
        patch.setenv("ARCHFLAGS", "-arch x86_64")
        patch.setenv("MACOSX_DEPLOYMENT_TARGET", "13")
        assert build.platform_tag() == "macosx_13_0_x86_64"
    with monkeypatch.context() as patch:
        patch.setattr(build.sys, "platform", "win32")
        patch.setattr(build.sysconfig, "get_platform", lambda: "win-amd64")
        assert build.platform_tag() == "win_amd64"
        assert build._of_system() == ([], ["-static"])
    monkeypatch.setattr(build.sysconfig, "get_platform", lambda: "linux-aarch64")
    assert build.platform_tag() == "linux_aarch64"
    assert build.LIBRARY.name == cpu.LIBRARY.name


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("sanitizer", "avx2"), [("address,undefined", True), ("thread", False)])
def test_sanitizers_find_nothing(sanitizer, avx2, tmp_path):
    if sys.platform != "linux":
        pytest.skip("the sanitizers are run on Linux")
    flags = ["-std=c++17", "-O1", "-g1", "-ffp-contract=off", "-Wno-psabi", f"-fsanitize={sanitizer}"]
    flags += ["-fno-sanitize-recover=all", f"-I{NATIVE}"]
    if avx2 and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        flags.append("-mavx2")  # the other run takes the code for processors without it
    sources = [NATIVE / f"{name}.cpp" for name in ("kernel", "centres", "merge", "linkage")]
    sources.append(ROOT / "tests/ops/sanitize.cpp")
    objects = [str(tmp_path / f"{source.stem}.o") for source in sources]
    compiling = [
        subprocess.Popen([COMPILER, *flags, "-c", str(source), "-o", target])
        for source, target in zip(sources, objects, strict=True)
    ]
    assert [process.wait() for process in compiling] == [0] * len(sources)
    program = str(tmp_path / "program")
    command = [COMPILER, *flags, *objects, "-o", program, "-pthread"]
    linked = subprocess.run(command, capture_output=True, text=True)
    if linked.returncode and "san" in linked.stderr:
        pytest.skip(f"this compiler has no {sanitizer} sanitizer library")
    assert linked.returncode == 0, linked.stderr
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "48 matrices, 0 disagreements\n"
