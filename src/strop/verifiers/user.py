"""A user's own scoring function as a verifier, run in a process that can be killed."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from strop.digests import digest_bytes, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Message, Task, Verdict

_START_TIMEOUT_S = 120.0
"""Loading the user's file may import large libraries."""
_KEPT_OUTPUT_BYTES = 2000
_STACK_TIMEOUT_S = 0.5
_NEVER_ZERO = "a score that could not be computed is never counted as 0"


class UserVerifier:
    """The function ``score(prompt, completion, **row)`` of a user's file, called in one reused worker process.

    ``prompt`` is a list of ``{"role", "content"}``, ``completion`` the answer's text, ``row`` the task's reference
    columns; a function that names only some of these gets only those. It returns a finite number, a truth value, or a
    dict with ``score`` and, if it likes, ``passed``, ``reasons`` and further numbers, which evaluation averages. A
    number passes from ``pass_at`` on.

    ``on_error="raise"`` makes a function that raises, hangs or returns nonsense a ``VerifierError``; ``"record"``
    makes it a verdict of state ``error`` or ``timeout``, without a score. Use it as a context manager, or ``close``
    it; the worker ends with its parent in any case. Truncated completions are scored like others, but never pass.
    """

    def __init__(
        self, path: Path, function: str, *, timeout_s: float, on_error: Literal["raise", "record"], pass_at: float
    ) -> None:
        self.path, self.function, self.timeout_s, self.on_error, self.pass_at = (
            path,
            function,
            timeout_s,
            on_error,
            pass_at,
        )
        self.name = f"{path.name}:{function}"
        self._source = _read(path, function)
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    @property
    def digest(self) -> str:
        """Identity of the file's content, the function's name and ``pass_at``; what the file imports is left out."""
        return digest_json(["user", digest_bytes(self._source.encode()), self.function, self.pass_at])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        available = {**task.reference, "prompt": _plain(task.prompt), "completion": completion.text}
        try:
            request = json.dumps({"available": available})
        except (TypeError, ValueError) as error:
            raise self._error("cannot be handed this row", task, why=f"the row is not JSON: {error}") from error
        with self._lock:
            answer = self._ready().ask(request, self.timeout_s)
        return self._verdict(answer, task, completion)

    def start(self) -> None:
        """Start the worker now, so that a file that cannot be loaded is told at once. Raises: VerifierError."""
        with self._lock:
            self._ready()

    def close(self) -> None:
        """End the worker and everything in its process group."""
        with self._lock:
            if self._worker is not None:
                self._worker.end()
            self._worker = None

    def __enter__(self) -> UserVerifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> _Worker:
        if self._worker is None or not self._worker.is_alive:
            worker = _Worker()
            first = {"path": str(self.path.resolve()), "source": self._source, "function": self.function}
            answer = worker.ask(json.dumps(first), _START_TIMEOUT_S)
            if "ready" not in answer:
                worker.end()
                raise self._load_error(answer)
            self._worker = worker
        return self._worker

    def _verdict(self, answer: Mapping[str, Any], task: Task, completion: Completion) -> Verdict:
        if "result" in answer:
            result = answer["result"]
            passed = result["score"] >= self.pass_at if result["passed"] is None else result["passed"]
            truncated = completion.is_truncated
            return Verdict(
                score=result["score"],
                passed=passed and not truncated,
                reasons=(*(("truncated",) if truncated else ()), *result["reasons"]),
                measures=result["measures"],
            )
        error = self._call_error(answer, task)
        if self.on_error == "raise":
            raise error
        state: Literal["timeout", "error"] = "timeout" if "timeout" in answer else "error"
        return Verdict(score=None, passed=False, state=state, reasons=(error.what,))

    def _call_error(self, answer: Mapping[str, Any], task: Task) -> VerifierError:
        printed = f"; it printed: {answer['printed']}" if answer.get("printed") else ""
        why = _NEVER_ZERO + printed
        if "timeout" in answer:
            do = "make the function faster; load_verifier(..., timeout_s=...) allows more in Python"
            stood = re.search(rf'File "{re.escape(str(self.path.resolve()))}", line (\d+)', answer["stack"])
            line = int(stood[1]) if stood else None
            return self._error(f"gave no answer within {self.timeout_s:g} s", task, why=why, do=do, line=line)
        if "ended" in answer:
            return self._error(f"ended its process ({answer['ended']})", task, why=why)
        if "bad_result" in answer:
            do = "return a finite number, True or False, or a dict with a `score`"
            problem = answer["bad_result"].removeprefix("it ")
            what = f"{problem}" if problem != answer["bad_result"] else f"returned a dict, but {problem}"
            return self._error(what, task, why=why, do=do)
        if answer["error"] == "_SignatureError":
            do = "name only `prompt`, `completion` and columns of the row, or take **row"
            return self._error("cannot be called", task, why=answer["message"], do=do)
        what = f"raised {answer['error']}: {answer['message']}"
        return self._error(what, task, why=why, line=answer["line"])

    def _load_error(self, answer: Mapping[str, Any]) -> VerifierError:
        if answer.get("error") == "_NoFunctionError":
            known = [name for name in answer["message"].split(", ") if name]
            near = difflib.get_close_matches(self.function, known, n=1, cutoff=0.5)
            do = f"did you mean `{near[0]}`? " if near else ""
            do += f"the file has: {', '.join(known)}" if known else "the file defines no function"
            return VerifierError(f"{self.path} has no function `{self.function}`", where=str(self.path), do=do)
        if "error" in answer:
            why = f"{answer['error']}: {answer['message']}"
            where = f"{self.path}:{answer['line']}" if answer["line"] else str(self.path)
        else:
            where = str(self.path)
            why = f"it took over {_START_TIMEOUT_S:g} s" if "timeout" in answer else f"it ended ({answer['ended']})"
        return VerifierError(f"{self.path} could not be loaded", where=where, why=why, do="mend the file and try again")

    def _error(self, what: str, task: Task, *, why: str, do: str = "", line: int | None = None) -> VerifierError:
        row = f"row {task.source}" if task.source else f"task {task.id}"
        where = f"{self.path}:{line}, for {row}" if line else f"{self.path}, for {row}"
        return VerifierError(f"{self.name} {what}", where=where, why=why, do=do or "mend the function, or that row")


def load_user_verifier(
    spec: str, *, timeout_s: float = 5.0, on_error: Literal["raise", "record"] = "raise", pass_at: float = 0.5
) -> UserVerifier:
    """The verifier for ``my_rewards.py:score``, its worker started. Raises: VerifierError if it cannot be loaded."""
    path, colon, function = spec.rpartition(":")
    if not colon or not path or not function.isidentifier():
        raise VerifierError(
            f"cannot read the verifier `{spec}`",
            why="your own verifier is a file and the name of a function in it",
            do="write it as my_rewards.py:score",
        )
    verifier = UserVerifier(Path(path), function, timeout_s=timeout_s, on_error=on_error, pass_at=pass_at)
    verifier.start()
    return verifier


def _read(path: Path, function: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise VerifierError(
            f"cannot read {path}",
            where=str(path),
            why=why.lower(),
            do=f"give the path of a Python file that defines `{function}(prompt, completion, **row)`",
        ) from error


def _plain(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = []
    for message in messages:
        plain.append({"role": message.role, "content": message.content})
        if message.tool_calls:
            plain[-1]["tool_calls"] = [
                {"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls
            ]
    return plain


# ----------------------------------------------------------------------------------------------------------- the worker


class _Worker:
    """A worker process with its pipes: a request and an answer are one JSON line each."""

    def __init__(self) -> None:
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
                command,
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

    def ask(self, request: str, timeout_s: float) -> dict[str, Any]:
        """The worker's answer, or ``{"timeout"}`` or ``{"ended": how}`` after which the worker is gone."""
        deadline = time.monotonic() + timeout_s
        self._printed.truncate(0)
        line = b""
        try:
            _write(self._requests, request.encode() + b"\n", deadline)
            while not line.endswith(b"\n"):
                _wait(self._answers, select.POLLIN, deadline)
                piece = os.read(self._answers, 1 << 16)
                if not piece:
                    raise BrokenPipeError
                line += piece
        except TimeoutError:
            printed, stack = self._tail(), self._stack()
            self.end()
            return {"timeout": True, "stack": stack, "printed": printed}
        except BrokenPipeError:
            printed = self._tail()
            return {"ended": self._how_it_ended(), "printed": printed}
        except BaseException:  # an interrupted request leaves an answer in the pipe that belongs to nobody
            self.end()
            raise
        answer: dict[str, Any] = json.loads(line)
        return answer if "result" in answer else {**answer, "printed": self._tail()}

    def end(self) -> None:
        """Kill the process group and close the pipes; nothing happens the second time."""
        self._finalizer()

    def _tail(self) -> str:
        self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, self._printed.tell() - _KEPT_OUTPUT_BYTES))
        return self._printed.read().decode(errors="replace").strip()

    def _stack(self) -> str:
        """Where the hanging process stands, as ``faulthandler`` prints it; empty if it does not."""
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
