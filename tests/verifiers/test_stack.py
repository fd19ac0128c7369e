"""The stack machine and its judge: what instructions do, and limits that hold."""

from __future__ import annotations

import time

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers.stack import MachineLimits, ProgramError, StackProgram, read_program, run_program

TASK = Task(
    id="t", prompt=(), reference={"tests": [{"inputs": {"x": x}, "expect": (x + 3) * 2} for x in (-2, 0, 1, 5, 9)]}
)
COUNTDOWN = "push 0 set s push n jzero 13 push s push n add set s push n push 1 sub set n jump 2 push s"
FACTORIAL = "push 1 set s push n jzero 13 push s push n mul set s push n push 1 sub set n jump 2 push s"


def top(program: str, limits: MachineLimits | None = None, **inputs: int) -> int:
    return run_program(read_program(program), inputs, limits)[0]


def judged(text: str, limits: MachineLimits | None = None, task: Task = TASK, ending: str = "stop") -> Verdict:
    answer = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=ending)  # type: ignore[arg-type]
    return StackProgram(limits=limits or MachineLimits())(task, answer)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("push 2 push 5 add", 7),
        ("push 2 push 5 sub", -3),
        ("push -2 push 5 mul", -10),
        ("push 4 dup mul", 16),
        ("push 2 push 5 swap sub", 3),
        ("push 2 push 5 over", 2),
        ("push 2 push 5 drop", 2),
        ("push x push y sub", -6),
        ("push x set a push 1 push a add", 4),
        ("push 9 jump 3 push 8 push 7 add", 16),  # to instruction 3, `push 7`
        ("push 1 push 0 jzero 4 push 5 push 6", 6),
        ("push 1 push 2 jzero 4 push 5", 5),
        ("push 1 push -1 jneg 5 push 7 push 8", 1),
    ],
)
def test_instructions_do_what_is_said(program: str, expected: int) -> None:
    assert top(program, x=3, y=9) == expected


def test_loops_sum_and_multiply() -> None:
    assert [top(COUNTDOWN, n=n) for n in (0, 1, 4, 10)] == [0, 1, 10, 55]
    assert [top(FACTORIAL, n=n) for n in (0, 1, 4, 6)] == [1, 1, 24, 720]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("add", "instruction 0: `add` needs 2 on the stack, which holds 0"),
        ("push 1 drop", "the stack is empty at the end"),
        ("push q", "instruction 0: nothing is stored under `q`"),
        ("push 1 jump 7", "instruction 1: there is no instruction 7"),
        ("jump 0", "step limit of 1000 reached"),
        ("push 1 jump 0", "stack limit of 100 reached"),
        ("push 9 dup mul dup mul dup mul dup mul", "a number has more than 12 digits"),
    ],
)
def test_a_fault_of_the_program_is_named_and_fails_it(program: str, why: str) -> None:
    with pytest.raises(ProgramError, match=why):
        top(program)
    verdict = judged(program)
    assert (verdict.score, verdict.passed, verdict.state) == (0.0, False, "graded")
    assert verdict.reasons == (f"test 1: {why}",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the program is empty"),
        ("push", "instruction 0: `push` cannot take `nothing`"),
        ("push 1 add 2", "instruction 2: there is no instruction `2`"),
        ("push xy", "instruction 0: `push` cannot take `xy`"),
        ("jump x", "instruction 0: `jump` cannot take `x`"),
        ("set 3", "instruction 0: `set` cannot take `3`"),
        ("print PASSED", "instruction 0: there is no instruction `print`"),
        ("dup " * 300, "the program has more than 200 instructions"),
        ("push 9999999999999", "instruction 0: `push` cannot take `9999999999999`"),
    ],
)
def test_what_cannot_be_read_is_unparsable(text: str, why: str) -> None:
    verdict = judged(text)
    assert (verdict.score, verdict.state, verdict.reasons) == (0.0, "unparsable", (why,))


def test_several_notations_of_one_program_pass_and_one_wrong_test_fails() -> None:
    for text in (
        "push x push 3 add push 2 mul",
        "Program: push x; push 3; add; push 2; mul.",
        "push x dup add push 6 add",
    ):
        assert judged(text).passed, text
    near = judged("push x push 3 add dup mul")  # right for x = -1 and -3 only, which are not tested
    assert not near.passed
    partly = judged("push x jneg 4 push x jump 5 push 0 push 3 add push 2 mul")  # as if negative numbers were 0
    assert partly.measures["tests_passed"] == pytest.approx(4 / 5)
    assert partly.reasons == ("test 1: a wrong number",)


def test_the_verdict_never_tells_what_a_test_expects() -> None:
    secret = Task(id="t", prompt=(), reference={"tests": [{"inputs": {"x": 1}, "expect": 987654}]})
    for text in ("push 1", "push x add", "push 987653", "hm"):
        assert "987654" not in repr(judged(text, task=secret))


@pytest.mark.capability("IM-07")
def test_the_step_limit_ends_an_endless_loop_and_counts_exactly() -> None:
    steps = 2 + 3 * 11 + 2 + 1  # before the loop, three rounds, the question that ends it, the result
    assert run_program(read_program(COUNTDOWN), {"n": 3}, MachineLimits(max_steps=steps))[1] == steps
    with pytest.raises(ProgramError, match=f"step limit of {steps - 1} reached"):
        run_program(read_program(COUNTDOWN), {"n": 3}, MachineLimits(max_steps=steps - 1))
    endless = judged("push 0 set s push 1 drop jump 2")
    assert (endless.score, endless.state) == (0.0, "graded")
    assert endless.reasons == ("test 1: step limit of 1000 reached",)


@pytest.mark.capability("IM-07")
def test_the_time_limit_ends_a_program_with_its_own_state_and_without_a_score() -> None:
    limits = MachineLimits(max_steps=10**9, timeout_s=0.05)
    started = time.monotonic()
    verdict = judged("push 1 drop jump 0", limits)
    assert time.monotonic() - started < 5
    assert (verdict.score, verdict.passed, verdict.state) == (None, False, "timeout")
    assert verdict.reasons[0].startswith("test 1: time limit of 0.05 s reached after")


def test_a_truncated_program_fails_and_a_task_without_tests_is_refused() -> None:
    assert judged("push x push 3 add push 2 mul", ending="length").reasons == ("truncated",)
    with pytest.raises(VerifierError, match="no tests for a stack program"):
        judged("push 1", task=Task(id="t", prompt=(), reference={}))
