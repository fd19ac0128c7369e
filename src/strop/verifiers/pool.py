"""Many answers judged at once, so that one that hangs or crashes its verifier costs the others nothing."""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from strop.errors import UserError, VerifierError
from strop.types import Completion, Task, Verdict, VerdictState, Verifier
from strop.verifiers.packing import packed, portable, unpacked
from strop.verifiers.processes import WorkerAnswer, WorkerPool

DEADLINE_S = 10.0
"""What one answer may take where nothing else is said: a thousand times what the slowest built-in verifier needs."""
MEMORY_MB = 4096
_PAIRS_A_WORKER = 64
"""Fewer do not pay for the start of another process."""
_SCRIPT = Path(__file__).with_name("pool_worker.py")

Pair = tuple[Task, Completion]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict and how long it took."""

    verdict: Verdict
    seconds: float


@runtime_checkable
class BatchVerifier(Protocol):
    """A verifier that judges many answers together and ends in time by itself: one that asks a model."""

    def judge_many(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """One verdict a pair, in order."""


@runtime_checkable
class JointVerifier(Protocol):
    """A verifier made of others, each of which is judged by in its own way."""

    @property
    def members(self) -> Sequence[Verifier]:
        """Who judges."""

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        """The verdict that follows from the members'."""


class GradingPool:
    """One verifier, ready to judge many answers; close it, or use it as a context manager.

    How a verifier is run follows from what it is:

    - a frozen dataclass that can be pickled, as the built-in ones are, is copied into worker processes, which are
      killed when an answer takes over ``deadline_s`` or ``memory_mb``; the rest goes on in a new one. They start with
      the first answer, import what the verifier imports and nothing else, and are no forks of this process;
    - one that says ``is_isolated = True`` ends in time by itself whatever hangs (a user's own function, code, judges
      behind a server): called in threads, with its own deadlines;
    - one with ``judge_many`` is asked once for all; one with ``members`` and ``combine`` is judged member by member;
    - anything else, an object with a state, or one whose code another process cannot import (from ``__main__``, a
      notebook), stays here and is called in one thread at a time. What hangs there is left behind: it delays nobody,
      but cannot be killed, and a crash takes this process with it.

    An answer that was not judged has no score: state ``timeout``, or ``error`` for an exception or a process that
    ended, with verifier, task and cause in ``reasons``.
    """

    def __init__(
        self, verifier: Verifier, *, deadline_s: float = DEADLINE_S, workers: int = 2, memory_mb: int | None = MEMORY_MB
    ) -> None:
        if deadline_s <= 0 or workers < 1:
            raise ValueError(f"a deadline above 0 and a worker are needed, not {deadline_s} s and {workers} workers")
        self.verifier = verifier
        self._run = _run_of(verifier, deadline_s, workers, memory_mb)

    def judge_all(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """One verdict a pair, in order. Raises: the first UserError, in this order, that the verifier raised."""
        return [judged.verdict for judged in self.judge_timed(pairs)]

    def judge_timed(self, pairs: Sequence[Pair]) -> list[Judged]:
        """As ``judge_all``, with the seconds that the verifier itself took for each; of a batch, its share."""
        return self._run.judge(pairs) if pairs else []

    def close(self) -> None:
        """End the processes and threads."""
        self._run.close()

    def __enter__(self) -> GradingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def judge_all(
    verifier: Verifier,
    pairs: Sequence[Pair],
    *,
    deadline_s: float = DEADLINE_S,
    workers: int = 2,
    memory_mb: int | None = MEMORY_MB,
) -> list[Verdict]:
    """The verdicts of ``GradingPool(verifier, …).judge_all(pairs)``, the pool opened and closed for it."""
    with GradingPool(verifier, deadline_s=deadline_s, workers=workers, memory_mb=memory_mb) as pool:
        return pool.judge_all(pairs)


# ------------------------------------------------------------------------------------------------- the ways of running


class _Run(Protocol):
    def judge(self, pairs: Sequence[Pair]) -> list[Judged]: ...
    def close(self) -> None: ...


def _run_of(verifier: Verifier, deadline_s: float, workers: int, memory_mb: int | None) -> _Run:
    if isinstance(verifier, JointVerifier):
        pools = [
            GradingPool(member, deadline_s=deadline_s, workers=workers, memory_mb=memory_mb)
            for member in verifier.members
        ]
        return _Jointly(verifier, pools)
    if isinstance(verifier, BatchVerifier):
        return _Together(verifier, verifier.name)
    if getattr(verifier, "is_isolated", False):
        return _InThreads(verifier, workers)
    content = portable(verifier)
    if content is None:
        return _Watched(verifier, deadline_s)
    return _InProcesses(verifier, content, deadline_s, workers, memory_mb)


class _AbsentError(Exception):
    """A worker cannot import the verifier's code."""


class _InProcesses:
    def __init__(
        self, verifier: Verifier, content: str, deadline_s: float, workers: int, memory_mb: int | None
    ) -> None:
        self._verifier, self._name, self._deadline_s, self._workers = verifier, verifier.name, deadline_s, workers
        self._pool = WorkerPool(_SCRIPT, first={"verifier": content, "path": sys.path}, memory_mb=memory_mb)
        self._here: _Watched | None = None

    def judge(self, pairs: Sequence[Pair]) -> list[Judged]:
        if self._here is None:
            try:
                return _each(self._judge, pairs, min(self._workers, 1 + len(pairs) // _PAIRS_A_WORKER))
            except _AbsentError:
                self._pool.close()
                self._here = _Watched(self._verifier, self._deadline_s)
        return self._here.judge(pairs)

    def _judge(self, pair: Pair) -> Judged:
        start = time.perf_counter()
        answer = self._pool.ask({"pair": packed(pair)}, self._deadline_s)
        if "verdict" in answer.value:
            return _checked(unpacked(answer.value["verdict"]), self._name, pair[0], answer.value["seconds"])
        if "absent" in answer.value:
            raise _AbsentError(answer.value["absent"])
        if "refused" in answer.value:
            raise _refusal(*unpacked(answer.value["refused"]))
        state, why = self._told(answer)
        return _failed(state, self._name, pair[0], why, time.perf_counter() - start)

    def _told(self, answer: WorkerAnswer) -> tuple[VerdictState, str]:
        if answer.state == "timeout":
            return "timeout", _late(self._deadline_s)
        if answer.state == "ended":
            return "error", f"ended its process ({answer.how})"
        return "error", f"raised {answer.value.get('raised', answer.how)}"

    def close(self) -> None:
        self._pool.close()
        if self._here is not None:
            self._here.close()


class _InThreads:
    def __init__(self, verifier: Verifier, workers: int) -> None:
        self._verifier, self._workers = verifier, workers

    def judge(self, pairs: Sequence[Pair]) -> list[Judged]:
        return _each(lambda pair: _called(self._verifier, pair), pairs, self._workers)

    def close(self) -> None:
        pass


class _Together:
    def __init__(self, verifier: BatchVerifier, name: str) -> None:
        self._verifier, self._name = verifier, name

    def judge(self, pairs: Sequence[Pair]) -> list[Judged]:
        start = time.perf_counter()
        try:
            verdicts = self._verifier.judge_many(pairs)
        except UserError:
            raise
        except Exception as error:
            return [_failed("error", self._name, task, f"raised {_said(error)}", 0.0) for task, _ in pairs]
        assert len(verdicts) == len(pairs), f"{self._name} gave {len(verdicts)} verdicts on {len(pairs)} answers"
        share = (time.perf_counter() - start) / len(pairs)
        return [_checked(verdict, self._name, pair[0], share) for verdict, pair in zip(verdicts, pairs, strict=True)]

    def close(self) -> None:
        pass


class _Jointly:
    def __init__(self, verifier: JointVerifier, pools: Sequence[GradingPool]) -> None:
        self._verifier, self._pools = verifier, pools

    def judge(self, pairs: Sequence[Pair]) -> list[Judged]:
        rows = zip(*(pool.judge_timed(pairs) for pool in self._pools), strict=True)
        return [
            Judged(
                verdict=self._verifier.combine([judged.verdict for judged in row]),
                seconds=sum(judged.seconds for judged in row),
            )
            for row in rows
        ]

    def close(self) -> None:
        for pool in self._pools:
            pool.close()


class _Watched:
    """Calls the verifier in a thread of this process and waits for ``deadline_s``, then goes on with a new thread."""

    def __init__(self, verifier: Verifier, deadline_s: float) -> None:
        self._verifier, self._deadline_s = verifier, deadline_s
        self._thread: _Thread | None = None

    def judge(self, pairs: Sequence[Pair]) -> list[Judged]:
        return [self._judge(pair) for pair in pairs]

    def _judge(self, pair: Pair) -> Judged:
        self._thread = self._thread or _Thread(self._verifier)
        try:
            found = self._thread.ask(pair, self._deadline_s)
        except queue.Empty:
            self.close()
            return _failed("timeout", self._verifier.name, pair[0], _late(self._deadline_s), self._deadline_s)
        except BaseException:  # interrupted: its answer belongs to nobody
            self.close()
            raise
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        if self._thread is not None:
            self._thread.end()
        self._thread = None


class _Thread:
    def __init__(self, verifier: Verifier) -> None:
        self._asked: queue.SimpleQueue[Pair | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[Judged | BaseException] = queue.SimpleQueue()
        self.end = weakref.finalize(self, self._asked.put, None)
        context = contextvars.copy_context()
        arguments = (_serve, verifier, self._asked, self._found)
        threading.Thread(target=context.run, args=arguments, daemon=True, name=f"verifier {verifier.name}").start()

    def ask(self, pair: Pair, timeout_s: float) -> Judged | BaseException:
        self._asked.put(pair)
        return self._found.get(timeout=timeout_s)


def _serve(
    verifier: Verifier,
    asked: queue.SimpleQueue[Pair | None],
    found: queue.SimpleQueue[Judged | BaseException],
) -> None:
    while (pair := asked.get()) is not None:
        try:
            found.put(_called(verifier, pair))
        except BaseException as error:
            found.put(error)


# ------------------------------------------------------------------------------------------------------- single answers


def _each(judge: Callable[[Pair], Judged], pairs: Sequence[Pair], workers: int) -> list[Judged]:
    """One a pair, in order; after the first error no further pair is begun."""
    executor = ThreadPoolExecutor(workers, thread_name_prefix="grading")
    try:
        return list(executor.map(judge, pairs))
    finally:
        executor.shutdown(cancel_futures=True)


def _called(verifier: Verifier, pair: Pair) -> Judged:
    start = time.perf_counter()
    try:
        verdict = verifier(*pair)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a verifier that exits must not end what asked it
        return _failed("error", verifier.name, pair[0], f"raised {_said(error)}", time.perf_counter() - start)
    return _checked(verdict, verifier.name, pair[0], time.perf_counter() - start)


def _checked(verdict: object, name: str, task: Task, seconds: float) -> Judged:
    if isinstance(verdict, Verdict):
        return Judged(verdict=verdict, seconds=seconds)
    return _failed("error", name, task, f"answered {verdict!r:.80}, which is no Verdict,", seconds)


def _failed(state: VerdictState, name: str, task: Task, why: str, seconds: float) -> Judged:
    reason = f"{name} {why} for task {task.id}"
    return Judged(verdict=Verdict(score=None, passed=False, state=state, reasons=(reason,)), seconds=seconds)


def _late(deadline_s: float) -> str:
    return f"gave no answer within {deadline_s:g} s"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _refusal(kind: type[UserError], what: str, where: str, why: str, do: str) -> UserError:
    """The error that a worker raised; a VerifierError where its own kind needs more than the four parts."""
    try:
        return kind(what, where=where, why=why, do=do)
    except TypeError:
        return VerifierError(what, where=where, why=why, do=do)
