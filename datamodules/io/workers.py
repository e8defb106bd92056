"""Processes that read pictures, and signals that are meant for the run."""

import os
import signal
import threading

from lightning.fabric.utilities.seed import pl_worker_init_function

# Ctrl-C, a closed terminal and a cluster's warning go to all processes of a run. It finishes its update with pictures
# that its workers read, and then ends them.
OF_THE_RUN = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1") if hasattr(signal, name)
)


def undisturbed(worker: int) -> None:
    """The `worker_init_fn` of a DataLoader: seeds as Lightning sets them, ended by its parent alone.

    PyTorch ends a worker at a SIGTERM of anybody's, which ends the run with an error. Here one that is not of its
    parent is passed over, where the platform says whose it is; a worker whose parent is gone ends all the same.

    Args:
        worker: the number of the worker.
    """
    if int(os.environ.get("PL_SEED_WORKERS", "0")):  # Lightning adds its own function to a loader without one
        pl_worker_init_function(worker)
    for number in OF_THE_RUN:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux and most of Unix, but not macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_end, args=(os.getppid(),), daemon=True).start()


def _wait_for_the_end(parent: int) -> None:
    while True:
        sender = signal.sigwaitinfo({signal.SIGTERM}).si_pid
        if sender == parent or os.getppid() != parent:
            os._exit(0)
