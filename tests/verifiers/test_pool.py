"""Grading many answers: what hangs or crashes costs the others nothing, and is never a zero."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from planted_verifiers import Planted, Unloadable
from strop.errors import RecipeError, VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import NumberAnswer
from strop.verifiers.pool import GradingPool, Pair, judge_all


def pair(text: str, number: int = 0) -> Pair:
    return (
        Task(id=f"t{number}", prompt=(), reference={"answer": text}),
        Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop"),
    )


def pairs(*texts: str) -> list[Pair]:
    return [pair(text, number) for number, text in enumerate(texts)]


class Leaver:
    """One that has a state, so that it is called in this process, and leaves it."""

    name, digest = "leaver", "0"
    is_isolated = False

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        if completion.text == "leave":
            sys.exit(0)
        return Verdict(score=1.0, passed=True)


@pytest.mark.parametrize("is_isolated", [False, True])
def test_a_verifier_that_exits_in_this_process_ends_nothing_but_its_verdict(is_isolated: bool) -> None:
    verifier = Leaver()
    verifier.is_isolated = is_isolated
    states = [verdict.state for verdict in judge_all(verifier, pairs("1", "leave", "2"))]
    assert states == ["graded", "error", "graded"]


PLANTED = {
    17: ("hang", "timeout", "gave no answer within 1.5 s"),
    101: ("exit", "error", "ended its process (exit code 0)"),
    102: ("segfault", "error", "ended its process (signal SIGSEGV)"),
    230: ("raise", "error", "raised KeyError: 'answer'"),
    231: ("hog", "error", "raised MemoryError"),
    400: ("spin", "timeout", "gave no answer within 1.5 s"),
    401: ("leave", "error", "raised SystemExit"),
    511: ("nothing", "error", "answered None, which is no Verdict"),
}


def test_what_hangs_or_crashes_among_512_delays_nobody_and_is_named_and_is_no_zero() -> None:
    texts = [PLANTED[n][0] if n in PLANTED else str(n + 1) for n in range(512)]
    start = time.monotonic()
    verdicts = judge_all(Planted(), pairs(*texts), deadline_s=1.5)
    seconds = time.monotonic() - start
    for n, verdict in enumerate(verdicts):
        if n not in PLANTED:
            assert (verdict.state, verdict.score, verdict.reasons) == ("graded", float(n % 2), (str(n + 1),))
            continue
        _, state, told = PLANTED[n]
        assert (verdict.state, verdict.score, verdict.passed, verdict.is_graded) == (state, None, False, False)
        assert told in verdict.reasons[0]
        assert verdict.reasons[0].startswith("planted ")
        assert verdict.reasons[0].endswith(f"for task t{n}")
    assert seconds < 30  # two deadlines and some starts of processes, on whatever machine; not 512 of anything


def test_workers_give_what_the_verifier_gives_here() -> None:
    asked = pairs(*(str(n + 1) for n in range(150)))
    assert judge_all(Planted(), asked) == [Planted()(*one) for one in asked]
    assert judge_all(NumberAnswer(), asked) == [NumberAnswer()(*one) for one in asked]
    assert judge_all(NumberAnswer(), []) == []


def test_the_workers_are_other_processes_are_kept_and_have_no_torch() -> None:
    with GradingPool(Planted(), workers=1) as pool:
        first, second = (pool.judge_all(pairs("pid"))[0].score for _ in range(2))
    assert first == second != None  # noqa: E711
    code = (
        "import sys; from strop.verifiers import VERIFIERS; import strop.worlds\n"
        "[make() for make in VERIFIERS.values()]\n"
        "import strop.verifiers.packing, strop.verifiers.pool_worker; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_an_error_that_the_user_can_mend_is_raised_whole() -> None:
    with pytest.raises(RecipeError, match="no such reference") as caught:
        judge_all(Planted(), pairs("2", "refuse", "refuse specially"))
    assert (caught.value.where, caught.value.why, caught.value.do) == ("t1", "why", "do")
    with pytest.raises(VerifierError, match="too long"):
        judge_all(Planted(), pairs("refuse specially"))


def test_a_worker_that_cannot_load_the_verifier_is_told_once_and_not_512_times() -> None:
    with pytest.raises(VerifierError, match="could not be started") as caught:
        judge_all(Unloadable(), pairs(*"1234"))
    assert "libmissing.so" in caught.value.why


@dataclass(frozen=True)
class Local:
    """A value whose code no other process can import: this file is no module of theirs."""

    name: str = "local"
    digest: str = "0"

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return Verdict(score=float(os.getpid()), passed=True)


def test_a_verifier_whose_code_only_this_process_has_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_up_here")
    module.Local = Local  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up_here", module)
    monkeypatch.setattr(Local, "__module__", "made_up_here")
    assert [one.score for one in judge_all(Local(), pairs("a", "b"))] == [float(os.getpid())] * 2


@dataclass
class Stateful:
    """Not a value: a copy of it would count apart."""

    asked: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    name: str = "stateful"
    digest: str = "0"

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        self.asked.append(completion.text)
        if completion.text == "hang":
            self.release.wait()
        if completion.text == "raise":
            raise ValueError("no")
        return Verdict(score=1.0, passed=True)


def test_a_verifier_with_a_state_stays_here_and_is_still_left_behind_when_it_hangs() -> None:
    verifier = Stateful()
    verdicts = judge_all(verifier, pairs("a", "hang", "b", "raise"), deadline_s=0.3)
    assert verifier.asked == ["a", "hang", "b", "raise"]
    assert [verdict.state for verdict in verdicts] == ["graded", "timeout", "graded", "error"]
    assert verdicts[1].reasons == ("stateful gave no answer within 0.3 s for task t1",)
    assert verdicts[3].reasons == ("stateful raised ValueError: no for task t3",)
    verifier.release.set()


@dataclass
class Isolated(Stateful):
    is_isolated: bool = True

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        time.sleep(0.2)
        return Verdict(score=float(threading.get_ident()), passed=True, reasons=(completion.text,))


def test_a_verifier_that_ends_in_time_by_itself_is_asked_in_threads_without_another_deadline() -> None:
    verdicts = judge_all(Isolated(), pairs("a", "b", "c", "d"), deadline_s=0.01, workers=2)
    assert [verdict.reasons for verdict in verdicts] == [("a",), ("b",), ("c",), ("d",)]
    assert len({verdict.score for verdict in verdicts}) == 2


@dataclass
class Batched(Stateful):
    fails: bool = False

    def judge_many(self, asked: Sequence[Pair]) -> list[Verdict]:
        self.asked.append(f"{len(asked)} at once")
        if self.fails:
            raise OSError("gone")
        return [Verdict(score=0.5, passed=False)] * len(asked)


def test_a_verifier_that_judges_many_together_is_asked_once() -> None:
    verifier = Batched()
    assert [one.score for one in judge_all(verifier, pairs("a", "b", "c"))] == [0.5] * 3
    assert verifier.asked == ["3 at once"]
    failed = judge_all(Batched(fails=True), pairs("a", "b"))
    assert [(one.state, one.score) for one in failed] == [("error", None)] * 2
    assert failed[1].reasons == ("stateful raised OSError: gone for task t1",)


def test_the_seconds_are_the_verifiers_own() -> None:
    with GradingPool(Isolated()) as pool:
        assert all(0.2 <= judged.seconds < 5 for judged in pool.judge_timed(pairs("a", "b")))


def test_an_impossible_deadline_is_refused() -> None:
    with pytest.raises(ValueError, match="deadline above 0"):
        GradingPool(Planted(), deadline_s=0)
