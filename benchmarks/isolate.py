"""Run a function in a process of its own, so that what is lost with it is one cell."""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
# Forked from a process that has imported the libraries but computed nothing, a child starts at once, its heap clean.
_PROCESSES = multiprocessing.get_context("fork")


class LostError(Exception):
    """The process ended without an answer: who was running, and why it ended."""

    def __init__(self, running: str, why: str) -> None:
        super().__init__(f"{running}: {why}")
        self.running = running
        self.why = why


def isolated(
    timeout: float, function: Callable[Concatenate[Callable[[str], None], P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """The value of `function(progress, ...)` in a child process; `progress(name)` tells who is running.

    Raises `LostError` when the child dies, or gives no sign for `timeout` seconds.
    """
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    child = _PROCESSES.Process(target=_answer, args=(theirs, function, args, kwargs))
    child.start()
    theirs.close()
    running = "start"
    try:
        while ours.poll(timeout):
            kind, content = ours.recv()
            if kind == "answer":
                answer: T = content
                return answer
            running = content
        raise LostError(running, f"no sign of life for {timeout:g} s")
    except EOFError:
        child.join()
        raise LostError(running, _ending(child.exitcode)) from None
    finally:
        if child.is_alive():
            child.join(1)
        if child.is_alive():
            child.kill()
        child.join()
        ours.close()


def _answer(
    pipe: Connection, function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    pipe.send(("answer", function(lambda name: pipe.send(("running", name)), *args, **kwargs)))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
