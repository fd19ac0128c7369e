"""A user's own scoring function as a verifier, run in a process that can be killed."""

from __future__ import annotations

import difflib
import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from strop.digests import digest_bytes, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Message, Task, Verdict
from strop.verifiers.processes import WorkerAnswer, WorkerProcess

_START_TIMEOUT_S = 120.0
"""Loading the user's file may import large libraries."""
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

    is_isolated = True  # see GradingPool

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
        self._worker: WorkerProcess | None = None

    @property
    def digest(self) -> str:
        """Identity of the file's content, the function's name and ``pass_at``; what the file imports is left out."""
        return digest_json(["user", digest_bytes(self._source.encode()), self.function, self.pass_at])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        available = {**task.reference, "prompt": _plain(task.prompt), "completion": completion.text}
        with self._lock:
            worker = self._ready()
            try:
                answer = worker.ask({"available": available}, self.timeout_s)
            except (TypeError, ValueError) as error:
                raise self._error("cannot be handed this row", task, why=f"the row is not JSON: {error}") from error
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

    def _ready(self) -> WorkerProcess:
        if self._worker is None or not self._worker.is_alive:
            worker = WorkerProcess(Path(__file__).with_name("user_worker.py"))
            first = {"path": str(self.path.resolve()), "source": self._source, "function": self.function}
            answer = worker.ask(first, _START_TIMEOUT_S)
            if "ready" not in answer.value:
                worker.end()
                raise self._load_error(answer)
            self._worker = worker
        return self._worker

    def _verdict(self, answer: WorkerAnswer, task: Task, completion: Completion) -> Verdict:
        if "result" in answer.value:
            result = answer.value["result"]
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
        state: Literal["timeout", "error"] = "timeout" if answer.state == "timeout" else "error"
        return Verdict(score=None, passed=False, state=state, reasons=(error.what,))

    def _call_error(self, answer: WorkerAnswer, task: Task) -> VerifierError:
        why = _NEVER_ZERO + (f"; it printed: {answer.printed}" if answer.printed else "")
        if answer.state == "timeout":
            do = "make the function faster; load_verifier(..., timeout_s=...) allows more in Python"
            stood = re.search(rf'File "{re.escape(str(self.path.resolve()))}", line (\d+)', answer.stack)
            line = int(stood[1]) if stood else None
            return self._error(f"gave no answer within {self.timeout_s:g} s", task, why=why, do=do, line=line)
        if answer.state != "answered":
            return self._error(f"ended its process ({answer.how})", task, why=why)
        failure = answer.value
        if "bad_result" in failure:
            do = "return a finite number, True or False, or a dict with a `score`"
            problem = failure["bad_result"].removeprefix("it ")
            what = f"{problem}" if problem != failure["bad_result"] else f"returned a dict, but {problem}"
            return self._error(what, task, why=why, do=do)
        if failure["error"] == "_SignatureError":
            do = "name only `prompt`, `completion` and columns of the row, or take **row"
            return self._error("cannot be called", task, why=failure["message"], do=do)
        what = f"raised {failure['error']}: {failure['message']}"
        return self._error(what, task, why=why, line=failure["line"])

    def _load_error(self, answer: WorkerAnswer) -> VerifierError:
        failure = answer.value
        if failure.get("error") == "_NoFunctionError":
            known = [name for name in failure["message"].split(", ") if name]
            near = difflib.get_close_matches(self.function, known, n=1, cutoff=0.5)
            do = f"did you mean `{near[0]}`? " if near else ""
            do += f"the file has: {', '.join(known)}" if known else "the file defines no function"
            return VerifierError(f"{self.path} has no function `{self.function}`", where=str(self.path), do=do)
        if "error" in failure:
            why = f"{failure['error']}: {failure['message']}"
            where = f"{self.path}:{failure['line']}" if failure["line"] else str(self.path)
        else:
            where = str(self.path)
            why = f"it took over {_START_TIMEOUT_S:g} s" if answer.state == "timeout" else f"it ended ({answer.how})"
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
