"""Python that may hang, crash or grow without end, in a process of its own that can be killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from strop.errors import VerifierError

_KEPT_OUTPUT_BYTES = 2000
_STACK_TIMEOUT_S = 0.5

Call = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""How a script asks its parent something while it works on a request."""


@dataclass(frozen=True, kw_only=True)
class WorkerAnswer:
    """What came of one request; after ``timeout`` and ``ended`` the worker is gone."""

    state: Literal["answered", "raised", "timeout", "ended"]
    value: Mapping[str, Any] = field(default_factory=dict)
    """What the script returned; empty unless ``answered``."""
    how: str = ""
    """The exception that was raised, or the signal or exit code with which the process ended."""
    stack: str = ""
    """Where a process that gave no answer in time was standing, as ``faulthandler`` prints it."""
    printed: str = ""
    """The last 2,000 bytes that it wrote to its standard output and error."""


class WorkerProcess:
    """A process that runs the function ``answer(request, call)`` of a script, one request after the other.

    Requests and answers are JSON objects on pipes that nothing which the script prints can reach. ``call`` asks the
    parent and waits: see ``ask``. The process and all that it starts are one group, which ends with this object, with
    ``end`` and with the parent, by whatever death. ``memory_mb`` bounds the address space, above which Python raises
    MemoryError. Not for code that means harm: it runs with the user's rights (``strop.sandbox`` is for that).
    """

    def __init__(self, script: Path, *, memory_mb: int | None = None) -> None:
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        lifeline_end, self._lifeline = os.pipe()
        theirs = (request_end, answer_end, lifeline_end)
        self._printed: BinaryIO = tempfile.TemporaryFile("ab+")  # noqa: SIM115
        fcntl.fcntl(self._printed, fcntl.F_SETFL, fcntl.fcntl(self._printed, fcntl.F_GETFL) | os.O_APPEND)
        # -P: the script's folder holds a numbers.py, which must not stand before the standard library's
        command = [sys.executable, "-P", "-u", str(Path(__file__).with_name("worker.py")), *map(str, theirs)]
        try:
            self._process = subprocess.Popen(
                [*command, str(memory_mb or 0), str(script)],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=theirs,
                start_new_session=True,
            )
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        descriptors = (self._requests, self._answers, self._lifeline)
        self._finalizer = weakref.finalize(self, _end, self._process, descriptors, self._printed, os.getpid())

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked again: False once it was ended."""
        return self._finalizer.alive

    def ask(self, request: Mapping[str, Any], timeout_s: float, *, on_call: Call | None = None) -> WorkerAnswer:
        """What the script answers within ``timeout_s``, of which the first request also starts the interpreter.

        ``on_call`` answers what the script asks through ``call``; the time that it takes counts, but it is not
        interrupted. One request at a time. Raises: TypeError, ValueError if the request is not JSON, which leaves the
        worker as it was; whatever ``on_call`` raises, after which the worker is gone.
        """
        content = json.dumps(request).encode() + b"\n"
        deadline = time.monotonic() + timeout_s
        self._printed.truncate(0)
        try:
            message = self._exchange(content, deadline)
            while "call" in message:
                if on_call is None:
                    raise ValueError("the script called its parent, which was given no `on_call`")
                message = self._exchange(json.dumps(on_call(message["call"])).encode() + b"\n", deadline)
        except TimeoutError:
            printed, stack = self._tail(), self._stack()
            self.end()
            return WorkerAnswer(state="timeout", stack=stack, printed=printed)
        except BrokenPipeError:
            printed = self._tail()
            return WorkerAnswer(state="ended", how=self._how_it_ended(), printed=printed)
        except BaseException:  # an interrupted request leaves an answer in the pipe that belongs to nobody
            self.end()
            raise
        if "raised" in message:
            return WorkerAnswer(state="raised", how=message["raised"], printed=self._tail())
        return WorkerAnswer(state="answered", value=message["answer"], printed=self._tail())

    def end(self) -> None:
        """Kill the process group and close the pipes; nothing happens the second time."""
        self._finalizer()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _exchange(self, content: bytes, deadline: float) -> dict[str, Any]:
        """The message that follows what is written. Raises: TimeoutError, BrokenPipeError."""
        _write(self._requests, content, deadline)
        line = bytearray()
        while not line.endswith(b"\n"):
            _wait(self._answers, select.POLLIN, deadline)
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                raise BrokenPipeError
            line += piece
        message: dict[str, Any] = json.loads(line)
        return message

    def _tail(self) -> str:
        self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, self._printed.tell() - _KEPT_OUTPUT_BYTES))
        return self._printed.read().decode(errors="replace").strip()

    def _stack(self) -> str:
        """Where the hanging process stands; empty if it does not say."""
        self._printed.truncate(0)
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + _STACK_TIMEOUT_S
        while not (stack := self._tail()).endswith("in <module>") and time.monotonic() < deadline:
            time.sleep(0.01)
        return stack

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "it closed its answer pipe"
        finally:
            self.end()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class WorkerPool:
    """Workers of one script for callers in several threads: each request has a worker to itself.

    A request that hangs therefore delays its own caller only. Workers are started when no idle one is left, with
    ``first`` as their first request, and kept; there are never more than callers at one time.
    """

    def __init__(
        self, script: Path, *, first: Mapping[str, Any], start_timeout_s: float = 120.0, memory_mb: int | None = None
    ) -> None:
        self._script, self._first, self._start_timeout_s, self._memory_mb = script, first, start_timeout_s, memory_mb
        self._idle: list[WorkerProcess] = []
        self._lock = threading.Lock()

    def ask(self, request: Mapping[str, Any], timeout_s: float, *, on_call: Call | None = None) -> WorkerAnswer:
        """As ``WorkerProcess.ask``, the start of a worker left out. Raises: VerifierError if none can be started."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or self._started()
        answer = worker.ask(request, timeout_s, on_call=on_call)
        if worker.is_alive:
            with self._lock:
                self._idle.append(worker)
        return answer

    def close(self) -> None:
        """End the idle workers."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def _started(self) -> WorkerProcess:
        worker = WorkerProcess(self._script, memory_mb=self._memory_mb)
        answer = worker.ask(self._first, self._start_timeout_s)
        if answer.state == "answered":
            return worker
        worker.end()
        how = f"it took over {self._start_timeout_s:g} s" if answer.state == "timeout" else answer.how
        raise VerifierError(
            f"the worker {self._script.name} could not be started",
            where=str(self._script),
            why=f"{how}; it printed: {answer.printed}" if answer.printed else how,
            do="see what it needs to be installed",
        )


def _wait(descriptor: int, event: int, deadline: float) -> None:
    """Return when the descriptor is ready. Raises: TimeoutError."""
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _write(descriptor: int, content: bytes, deadline: float) -> None:
    """Write all of it, in pieces that a full pipe cannot block. Raises: TimeoutError, BrokenPipeError."""
    view = memoryview(content)
    while view:
        _wait(descriptor, select.POLLOUT, deadline)
        view = view[os.write(descriptor, view[: select.PIPE_BUF]) :]


def _end(process: subprocess.Popen[bytes], descriptors: tuple[int, ...], printed: BinaryIO, owner_pid: int) -> None:
    if os.getpid() != owner_pid:  # a forked child of ours that exits must not take our worker with it
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for descriptor in descriptors:
        os.close(descriptor)
    printed.close()
