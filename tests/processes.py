"""Functions called in a process of their own, so that what they do to it ends with it."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def in_a_process(function: Callable[..., Any], *arguments: Any, seconds: float = 120) -> Any:
    """What a function of a module returns or raises in a new process, which inherits no threads of this one.

    Raises:
        TimeoutError: no answer within `seconds`.
        EOFError: the process died.
    """
    context = multiprocessing.get_context("spawn")
    answers, send = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(send, function, arguments), daemon=True)
    process.start()
    send.close()
    try:
        if not answers.poll(seconds):
            raise TimeoutError(f"{function.__name__} gave no answer within {seconds} s")
        answer = answers.recv()
        process.join(seconds)
    finally:
        process.kill()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _call(send: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        answer = function(*arguments)
    except Exception as error:
        answer = error
    send.send(answer)
