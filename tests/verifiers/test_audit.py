"""A verifier is trusted as far as its audit goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import AuditCase, NumberAnswer, answer_cases, audit, load_user_verifier, reference_cases


@dataclass(frozen=True)
class Judge:
    """A verifier made of a function of the text."""

    decide: Callable[[str], Verdict]
    name: str = "judge"
    digest: str = "0"

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return self.decide(completion.text)


def passes(text: str) -> Verdict:
    return Verdict(score=1.0, passed=True)


def task(number: int, answer: object) -> Task:
    return Task(id=f"t{number}", prompt=(), reference={} if answer is None else {"answer": answer})


TASKS = [task(0, "3"), task(1, "3"), task(2, "4"), task(3, "so 2+3 = 5\n#### 5")]


def test_cases_from_answers_accept_the_own_one_and_reject_another_and_nothing() -> None:
    cases = answer_cases(TASKS)
    assert [(case.task.id, case.text, case.should_pass) for case in cases[:6]] == [
        ("t0", "3", True),
        ("t0", "", False),
        ("t0", "4", False),
        ("t1", "3", True),
        ("t1", "", False),
        ("t1", "4", False),
    ]
    found = audit(NumberAnswer(), cases)
    assert (found.num_right, found.num_wrong, found.num_false_accept, found.num_false_reject) == (4, 8, 0, 0)
    assert found.require() is found


@pytest.mark.capability("AB-verifier-FPR-audit")
def test_wrong_answers_accepted_are_counted_with_a_wilson_interval() -> None:
    found = audit(Judge(passes), answer_cases(TASKS))
    assert (found.false_accept, found.false_reject) == (1.0, 0.0)
    # Wilson by hand for 8 of 8 and for 0 of 4: n / (n + z²) and z² / (n + z²) with z² = 3.8415
    assert found.false_accept_interval is not None
    assert found.false_reject_interval is not None
    assert found.false_accept_interval.low == pytest.approx(8 / 11.8415, abs=1e-4)
    assert found.false_reject_interval.high == pytest.approx(3.8415 / 7.8415, abs=1e-4)
    with pytest.raises(VerifierError, match="wrong answers accepted 8 of 8") as caught:
        found.require()
    assert "false accept of '' for task t0" in caught.value.where
    assert found.require(max_false_accept=1.0) is found


def test_right_answers_rejected_are_told() -> None:
    found = audit(Judge(lambda text: Verdict(score=0.0, passed=False)), answer_cases(TASKS))
    assert found.false_reject == 1.0
    with pytest.raises(VerifierError, match="right answers rejected 4 of 4"):
        found.require()


def test_what_was_not_graded_is_in_no_rate_and_is_not_tolerated() -> None:
    found = audit(Judge(lambda text: Verdict(score=None, passed=False, state="timeout")), answer_cases(TASKS))
    assert (found.num_right, found.num_wrong, found.num_ungraded) == (0, 0, 12)
    assert found.false_accept is None
    with pytest.raises(VerifierError, match="12 not graded"):
        found.require(max_false_accept=1.0, max_false_reject=1.0)


def test_a_verifier_that_changes_its_mind_is_found_out() -> None:
    scores = iter([1.0, 0.9] * 100)
    found = audit(
        Judge(lambda text: Verdict(score=next(scores), passed=True)),
        [AuditCase(task=TASKS[0], text="3", should_pass=True)],
    )
    assert found.num_unstable == 1
    with pytest.raises(VerifierError, match="1 not deterministic"):
        found.require()


def test_tasks_without_answers_only_show_that_the_verifier_answers() -> None:
    found = audit(Judge(passes), answer_cases([task(0, None)]))
    assert (found.num_unknown, found.false_accept, found.false_reject) == (1, None, None)
    assert "unknown (no such case)" in found.summary()
    assert found.require() is found


def test_an_audit_of_nothing_is_no_audit() -> None:
    with pytest.raises(VerifierError, match="audited on no case"):
        audit(Judge(passes), []).require()


def test_cases_from_a_world_are_its_references_and_its_mutations() -> None:
    cases = reference_cases(TASKS[:2], gold=lambda one: "Answer: 3", mutations=lambda one: ["Answer: 4", ""])
    assert [case.should_pass for case in cases] == [True, True, False, False, False, False]
    assert audit(NumberAnswer(), cases).require().num_wrong == 4


def test_a_users_function_that_raises_fails_its_audit_with_its_own_message(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(completion, answer):\n    return int(completion) == int(answer)\n")
    with (
        load_user_verifier(f"{tmp_path / 'mine.py'}:score", timeout_s=30) as verify,
        pytest.raises(VerifierError, match="raised ValueError: invalid literal"),
    ):
        audit(verify, answer_cases(TASKS))
