"""What a machine lacks or runs out of, and reading processes that die: from an exception to what to change."""

import errno
import re
from collections.abc import Iterator

_WORKER = (
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:exited unexpectedly|is killed by signal)|"
    r"Pin memory thread exited"
)
_SHARED = (
    r"out of shared memory|unable to (?:allocate|open|resize) shared memory|shared memory segment|"
    r"unable to write to file </torch_"
)
_DEVICE = (
    r"(?:CUDA|HIP|XPU|MPS backend) out of memory|CUDA error: out of memory|"
    r"CU(?:DNN|BLAS|SOLVER|SPARSE)_STATUS_ALLOC_FAILED|NCCL.*out of memory"
)
_HOST = r"can't allocate memory|not enough memory: you tried|[Cc]annot allocate memory|std::bad_alloc"
_FILES = r"Too many open files|received \d+ items of ancdata"
_THREADS = r"can't start new thread|pthread_create"
_COMPILER = r"No working C\+\+ compiler found|Failed to find C compiler"
_OTHERS = r"terminated with signal SIG|Connection (?:closed|reset) by peer|ncclRemoteError"
_ASKED = re.compile(r"(?:[Tt]ried|Unable) to allocate ([\d.]+ ?[KMGTPE]?i?B\b|\d+ bytes)")
_FROM_WORKER = re.compile(r"^Caught \w+ in (?:DataLoader worker|pin memory thread)")

# What holds images in memory, by command.
_BATCH = {
    "train": "datamodule.batch_size, or datamodule.eval_batch_size if it is evaluating",
    "evaluate": "datamodule.eval_batch_size",
    "throughput": "batch_size",
    "generate": "sampling.height and sampling.width",
    "visualise": "the size of the image",
    "predict": "datamodule.transforms.eval_short_side and eval_long_side",
}
_CHEAPER = {
    "train": "; activation_checkpointing=true and trainer.precision=bf16-mixed need less too",
    "evaluate": "; trainer.precision=bf16-mixed needs less too",
    "throughput": "; precision=bf16 needs less too",
    "generate": "; sampling.precision=fp16 needs less too",
}


def told(error: BaseException, command: str) -> str | None:
    """One line about a fault of the machine's, with the settings to lower.

    Args:
        error: what was raised; what caused it is looked at too.
        command: train, evaluate, generate, throughput or visualise, which decides on the names of the settings.

    Returns:
        The line, or None for an error of another kind.
    """
    batch = _BATCH.get(command, "the batch size")
    reading = f"lower datamodule.num_workers or {batch}"
    for one in _chain(error):
        text, number = str(one), one.errno if isinstance(one, OSError) else None
        asked = f" ({found[1]} more were asked for)" if (found := _ASKED.search(text)) else ""
        if _is(one, _SHARED) or (number == errno.ENOSPC and "multiprocessing" in _where(one)):
            return f"shared memory (/dev/shm) is full: {reading}, or make it larger (docker run --shm-size=8g)"
        if _is(one, _WORKER) or (isinstance(one, (ConnectionError, EOFError)) and "rebuild_storage" in _where(one)):
            return f"{_killed(text)}, as a machine does that runs out of memory: {reading}"
        if _is(one, _DEVICE) or type(one).__name__ == "OutOfMemoryError":
            return f"the device is out of memory{asked}: lower {batch}{_CHEAPER.get(command, '')}"
        if isinstance(one, MemoryError) or number == errno.ENOMEM or _is(one, _HOST):
            return f"the machine is out of memory{asked}: {reading}"
        if number in (errno.EMFILE, errno.ENFILE) or _is(one, _FILES):
            return "too many files are open: lower datamodule.num_workers, or raise the limit (ulimit -n 65535)"
        if _is(one, _THREADS) or (number == errno.EAGAIN and "multiprocessing" in _where(one)):
            return "too many processes or threads: lower datamodule.num_workers or threads (their limit: ulimit -u)"
        if _is(one, _COMPILER):
            return "compile=true finds no C++ compiler: install g++ or clang++ (CXX=PATH names one), or leave it out"
        if _is(one, _OTHERS) and not isinstance(one, OSError):
            return f"another process of this run has ended ({_last_line(text)[:120]}): see what it said"
    return None


def first_words(error: BaseException) -> str:
    """An error's message; of one that a reading process passed on with its traceback, the message alone."""
    text = str(error) or type(error).__name__
    return _last_line(text).partition(": ")[2] or text if _FROM_WORKER.match(text) else text


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _is(error: BaseException, pattern: str) -> bool:
    """Whether the message says so, of an error of the kinds that such messages come with."""
    process = type(error).__name__ in ("ProcessExitedException", "ProcessRaisedException")  # PyTorch's
    return (process or isinstance(error, (RuntimeError, OSError))) and bool(re.search(pattern, str(error)))


def _killed(text: str) -> str:
    found = re.search(r"is killed by signal: (\w+)", text)
    return f"a process that reads images was killed{f' ({found[1]})' if found else ''}"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip() if text.strip() else ""


def _where(error: BaseException) -> str:
    """The files and functions that an error came through."""
    names, trace = [], error.__traceback__
    while trace is not None:
        names.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_frame.f_code.co_name}")
        trace = trace.tb_next
    return " ".join(names)
