"""Cheats score 0 whatever kind of test judges them, under every isolation that the machine offers."""

from collections.abc import Iterator

import pytest

from strop.sandbox import Limits, probe
from strop.types import Completion, Task
from strop.verifiers import audit
from strop.verifiers.code import CODE_CHEATS, CodeAnswer, code_cases, code_cheats

SOLUTION = "def f(x):\n    return sorted(x)[0] + 41 if x else None\n"
CHECK = """
import math
def check(candidate):
    expected = 43
    assert candidate([2, 7]) == expected
    assert candidate([1]) == 42, "f([1]) == 42"
    assert abs(candidate([0.5]) - 41.5) < 1e-9
    assert candidate([]) is None
"""
TESTS = [
    {"call": [[2, 7]], "expect": 43},
    {"call": [[1]], "expect": 42},
    {"call": [[0.5]], "expect": 41.5},
    {"call": [[]], "expect": None},
]
TASKS = {
    "check": Task(id="check", prompt=(), reference={"entry_point": "f", "check": CHECK, "solution": SOLUTION}),
    "tests": Task(id="tests", prompt=(), reference={"entry_point": "f", "tests": TESTS, "solution": SOLUTION}),
}
SOUND = [tier.tier for tier in probe() if tier.is_sound]


@pytest.fixture(scope="module", params=SOUND)
def judge(request: pytest.FixtureRequest) -> Iterator[CodeAnswer]:
    with CodeAnswer(tier=request.param, limits=Limits(cpu_s=1.0, wall_s=3.0), check_timeout_s=5.0) as opened:
        yield opened


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("cheat", CODE_CHEATS)
def test_a_cheat_scores_0_under_every_tier(judge: CodeAnswer, cheat: str, kind: str) -> None:
    verdict = judge(TASKS[kind], said(code_cheats("f")[cheat]))
    assert (verdict.state, verdict.score, verdict.passed) == ("graded", 0.0, False), verdict
    assert judge(TASKS[kind], said(SOLUTION)).passed, "and the next honest answer is judged as ever"


@pytest.mark.parametrize("cheat", ["prints that it passed", "exits with 0 when loaded", "patches the builtins"])
def test_a_program_that_cheats_scores_0_as_well(judge: CodeAnswer, cheat: str) -> None:
    sums = Task(id="sum", prompt=(), reference={"stdin_tests": [{"stdin": "1 2", "stdout": "3"}]})
    assert judge(sums, said(code_cheats("f")[cheat])).score == 0.0
    assert judge(sums, said("print(sum(map(int, input().split())))")).passed


def test_there_are_at_least_fifteen_and_each_is_python() -> None:
    assert len(CODE_CHEATS) >= 15
    for source in code_cheats("some_name").values():
        compile(source, "<cheat>", "exec")
        assert "FUNCTION" not in source
        assert "def some_name(" in source or "os._exit(0)" in source


def test_cheats_beat_a_judge_that_runs_the_tests_beside_the_code() -> None:
    """So that the suite is known to bite: the same cheats pass a naive judge in one process."""
    import subprocess
    import sys

    beaten = set()
    for name in ("returns what equals everything", "exits with 0 when called", "exits through sys.exit"):
        program = code_cheats("f")[name] + "\ndef check(candidate):\n    assert candidate([2, 7]) == 43\ncheck(f)\n"
        if subprocess.run([sys.executable, "-I", "-c", program], capture_output=True).returncode == 0:
            beaten.add(name)
    assert len(beaten) == 3


def test_the_audit_accepts_solutions_and_rejects_wrong_answers_and_cheats(judge: CodeAnswer) -> None:
    cases = code_cases(list(TASKS.values()))
    result = audit(judge, cases).require()
    assert result.num_right == 2
    assert result.num_wrong == len(CODE_CHEATS) + 6
    assert (result.false_accept, result.false_reject, result.num_ungraded, result.num_unstable) == (0.0, 0.0, 0, 0)
