"""The cuda backend's threads under sanitizers, each wait left out once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from atc.ops.linkage.cuda import binaries
from tests.ops.emulation import compile_emulation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the sanitizers are run on Linux"),
]
SOURCES = {
    "emulate.cpp": ["block.h"],
    "emulate_grid.cpp": ["cliques.h", "closest.h", "numbers.h", "rounds.h", "ties.h", "tree.h"],
}
RUNS = {"emulate.cpp": 420, "emulate_grid.cpp": 525}


@pytest.mark.parametrize("source", SOURCES)
def test_address_and_undefined_behaviour_sanitizers_find_nothing(tmp_path, source):
    program = tmp_path / "program"
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_emulation(program, "-O0", "-g1", "-DATC_LANES=2", "-DATC_PROGRAM", *flags, source=source)
    done = subprocess.run([program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{RUNS[source]} runs, 0 disagreements\n"), done.stdout + done.stderr


@pytest.mark.parametrize("source", SOURCES)
def test_thread_sanitizer_finds_nothing_and_misses_every_wait_left_out(tmp_path, source):
    program = tmp_path / "program"
    compile_emulation(program, "-O1", "-g1", "-DATC_LANES=2", "-DATC_PROGRAM", "-fsanitize=thread", source=source)
    done = subprocess.run([program, "barriers"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    waits = done.stdout.split()
    assert sorted(waits) == sorted(wait for name in SOURCES[source] for wait in waits_in(name))
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1"}
    for wait in waits:
        try:
            racing = subprocess.run([program, wait], capture_output=True, text=True, env=environment, timeout=60)
        except subprocess.TimeoutExpired:
            continue  # threads that no longer agree on what comes next wait for ever
        # Forests are read and written by atomics alone: without a wait there, results are wrong and nothing races.
        assert racing.returncode != 0, f"nothing needs the wait at {wait}"
        races = "WARNING: ThreadSanitizer: data race" in racing.stderr
        strays = "ERROR: ThreadSanitizer: SEGV" in racing.stderr  # an address was read half written
        assert races or strays or "disagreements" in racing.stdout, f"{wait}: {racing.stderr}"


def waits_in(header):
    lines = (binaries.FOLDER / header).read_text().splitlines()
    return [f"{header}:{line}" for line, text in enumerate(lines, 1) if "thread.sync()" in text.split("//")[0]]
