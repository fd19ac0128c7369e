"""A verifier is trusted as far as its audit goes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from planted_verifiers import Planted
from strop.errors import MissingDependencyError, RecipeError, VerifierError
from strop.pipeline.audits import find_subject
from strop.pipeline.workspace import Workspace
from strop.types import Completion, Message, Task, Verdict
from strop.verifiers import (
    VERIFIERS,
    AuditCase,
    NumberAnswer,
    answer_cases,
    audit,
    load_user_verifier,
    read_audit,
    reference_cases,
    require_audit,
    write_audits,
)
from strop.verifiers.named import PROGRAMS


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
    assert (found.num_right, found.num_wrong, found.num_false_accept, found.num_false_reject) == (4, 40, 0, 0)
    assert found.require() is found


def test_cases_from_answers_try_a_digit_too_many_and_cheats() -> None:
    asked = (Message(role="user", content="How many pounds are 1,200 and 34?"),)
    rows = [Task(id=f"t{n}", prompt=asked, reference={"answer": n}) for n in (90, "1,200", 7, -8)]
    cases = answer_cases(rows)
    of_first = [case for case in cases if case.task.id == "t90"]
    assert [case.text for case in of_first if case.kind == "mutation"] == ["", "1,200", "90\n1,200", "190", "901"]
    cheats = [case.text for case in of_first if case.kind == "cheat"]
    assert cheats[:3] == ["PASSED", "correct", "Answer: the correct answer"]
    assert len(cheats[3]) > 10_000
    assert cheats[4:] == ["How many pounds are 1,200 and 34?", "1,200\n90\n7\n-8"]
    # the question happens to hold this one's answer: whoever reads numbers could not but take it
    assert not any(case.text == asked[0].content for case in cases if case.task.id == "t1,200")
    assert {"-18", "-81"} <= {case.text for case in cases if case.task.id == "t-8"}
    assert answer_cases([replace(rows[0], reference={"answer": ["90", "190"]})])[2].text == "901"


def test_answers_that_are_worth_the_same_are_not_held_against_each_other() -> None:
    cases = answer_cases([task(0, "3"), task(1, "3.0"), task(2, "#### 3")])
    assert {case.text for case in cases if case.kind != "cheat"} == {"", "3", "3.0", "#### 3", "13", "31", "13.0"}


def test_an_audit_without_cheats_says_so() -> None:
    assert "no cheats were tried" in audit(NumberAnswer(), answer_cases(TASKS)[:6]).summary()
    assert "no cheats were tried" not in audit(NumberAnswer(), answer_cases(TASKS)).summary()


def test_a_failure_names_the_row_and_how_its_question_begins() -> None:
    asked = (Message(role="user", content="What is 57\nplus 33, if I may ask you something as simple as that?"),)
    row = Task(id="ab12", prompt=asked, reference={"answer": "90"}, source="tasks.jsonl:3")
    with pytest.raises(VerifierError) as caught:
        audit(Judge(passes), answer_cases([row])).require()
    assert "for task tasks.jsonl:3 'What is 57 plus 33, if I may ask you something as …'" in caught.value.where


@pytest.mark.parametrize(
    ("looks", "accepted"),
    # another below it, a digit before it, a digit behind it, and all answers: 4, 2 and 1 of those
    [(str.__contains__, 16), (str.startswith, 8), (str.endswith, 4)],
)
def test_whoever_looks_for_the_answer_anywhere_in_the_text_fails(
    looks: Callable[[str, str], bool], accepted: int
) -> None:
    rows = [task(number, str(17 + number)) for number in range(4)]
    right = {one.id: str(one.reference["answer"]) for one in rows}

    class Finder(Judge):
        def __call__(self, task: Task, completion: Completion) -> Verdict:
            found = looks(completion.text, right[task.id])
            return Verdict(score=float(found), passed=found)

    with pytest.raises(VerifierError, match=f"wrong answers accepted {accepted} of 40"):
        audit(Finder(passes), answer_cases(rows)).require()


@pytest.mark.capability("AB-verifier-FPR-audit")
def test_wrong_answers_accepted_are_counted_with_a_wilson_interval() -> None:
    found = audit(Judge(passes), answer_cases(TASKS))
    assert (found.false_accept, found.false_reject) == (1.0, 0.0)
    # Wilson by hand for 40 of 40 and for 0 of 4: n / (n + z²) and z² / (n + z²) with z² = 3.8415
    assert found.false_accept_interval is not None
    assert found.false_reject_interval is not None
    assert found.false_accept_interval.low == pytest.approx(40 / 43.8415, abs=1e-4)
    assert found.false_reject_interval.high == pytest.approx(3.8415 / 7.8415, abs=1e-4)
    with pytest.raises(VerifierError, match="wrong answers accepted 40 of 40") as caught:
        found.require()
    assert "false accept of '' for task t0" in caught.value.where
    uncheated = audit(Judge(passes), [case for case in answer_cases(TASKS) if case.kind != "cheat"])
    assert uncheated.require(max_false_accept=1.0) is uncheated


def test_right_answers_rejected_are_told() -> None:
    found = audit(Judge(lambda text: Verdict(score=0.0, passed=False)), answer_cases(TASKS))
    assert found.false_reject == 1.0
    with pytest.raises(VerifierError, match="right answers rejected 4 of 4"):
        found.require()


def test_what_was_not_graded_is_in_no_rate_and_is_not_tolerated() -> None:
    found = audit(Judge(lambda text: Verdict(score=None, passed=False, state="timeout")), answer_cases(TASKS))
    assert (found.num_right, found.num_wrong, found.num_ungraded) == (0, 0, 44)
    assert found.false_accept is None
    with pytest.raises(VerifierError, match="44 not graded"):
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


# ------------------------------------------------------------------------------------ cheats, purity, latency, the file

CHEATED = [
    *answer_cases(TASKS),
    *(AuditCase(task=TASKS[0], text=text, should_pass=False, is_cheat=True) for text in ("PASSED", "3 or 4", "####")),
]


@pytest.mark.capability("RL-26")
def test_an_accepted_cheat_fails_the_audit_whatever_rates_are_allowed() -> None:
    def fooled(text: str) -> Verdict:
        passed = text == "PASSED" or NumberAnswer()(TASKS[0], _said(text)).passed
        return Verdict(score=float(passed), passed=passed)

    found = audit(Judge(fooled), CHEATED[:3] + CHEATED[-3:])
    assert (found.num_cheats, found.num_cheats_accepted, found.num_wrong, found.num_false_accept) == (3, 1, 5, 1)
    assert [failure.kind for failure in found.failures] == ["accepted cheat"]
    with pytest.raises(VerifierError, match="1 of 3 cheats accepted"):
        found.require(max_false_accept=1.0, max_false_reject=1.0)
    honest = audit(NumberAnswer(), CHEATED)
    assert (honest.num_cheats, honest.num_cheats_accepted, honest.is_passed) == (23, 0, True)


def test_the_purity_of_what_is_kept_follows_bayes_and_both_rates() -> None:
    # 4 right ones, of which 1 is rejected, and 8 wrong ones, of which 2 are accepted
    def half(text: str) -> Verdict:
        passed = text in ("3", "4") and next(answers)
        return Verdict(score=float(passed), passed=passed)

    cases = [AuditCase(task=TASKS[0], text="3", should_pass=True)] * 4
    cases += [AuditCase(task=TASKS[0], text="4", should_pass=False)] * 8
    twice = [True] * 6 + [False] * 2 + [True] * 4 + [False] * 12
    answers = iter(twice)
    found = audit(Judge(half), cases)
    assert (found.false_reject, found.false_accept) == (0.25, 0.25)
    pure = found.purity(0.2)
    assert pure is not None
    assert pure[0] == pytest.approx(0.2 * 0.75 / (0.2 * 0.75 + 0.8 * 0.25))
    # Wilson by hand at 97.5 %: z = 2.241403; 1 of 4 and 2 of 8
    z2 = 2.241403**2
    low_a, high_a = ((3 + z2 / 2 + sign * 2.241403 * (4 * 0.75 * 0.25 + z2 / 4) ** 0.5) / (4 + z2) for sign in (-1, 1))
    low_b, high_b = ((2 + z2 / 2 + sign * 2.241403 * (8 * 0.75 * 0.25 + z2 / 4) ** 0.5) / (8 + z2) for sign in (-1, 1))
    assert pure[1].low == pytest.approx(0.2 * low_a / (0.2 * low_a + 0.8 * high_b), abs=1e-5)
    assert pure[1].high == pytest.approx(0.2 * high_a / (0.2 * high_a + 0.8 * low_b), abs=1e-5)
    assert audit(Judge(passes), cases[:4]).purity(0.5) is None


def test_a_verifier_that_hangs_on_a_case_has_not_graded_it() -> None:
    cases = [AuditCase(task=TASKS[0], text=text, should_pass=True) for text in ("2", "hang", "4")]
    found = audit(Planted(), cases, deadline_s=1.0, workers=1)
    assert (found.num_right, found.num_ungraded) == (2, 1)
    assert [(failure.kind, failure.text) for failure in found.failures] == [("not graded", "hang")]
    assert "gave no answer within 1 s" in found.failures[0].reason
    median, late = found.latency_s
    assert median < 0.1 < 0.9 < late < 10


def test_an_audit_comes_back_from_its_file_and_only_for_the_verifier_as_it_was(tmp_path: Path) -> None:
    found = audit(NumberAnswer(), CHEATED)
    write_audits(tmp_path / "audit.json", {"number": found})
    assert read_audit(tmp_path / "audit.json", NumberAnswer()) == found
    record = json.loads((tmp_path / "audit.json").read_text())["audits"]["number"]
    assert (record["digest"], record["false_accept"], record["passed"]) == (NumberAnswer().digest, 0.0, True)
    assert record["false_accept_interval"] == [0.0, pytest.approx(3.8415 / (43 + 3.8415), abs=1e-4)]
    with pytest.raises(VerifierError, match="no audit of the verifier number"):
        read_audit(tmp_path / "audit.json", NumberAnswer(tolerance=0.1))
    for broken in ("", "{}", '{"audits": {"number": {}}}', '{"audits": []}', '{"audits": {"number": 3}}'):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(VerifierError, match="cannot read the audit"):
            read_audit(tmp_path / "broken.json", NumberAnswer())
    with pytest.raises(VerifierError, match="cannot read the audit"):
        read_audit(tmp_path / "absent.json", NumberAnswer())


@pytest.mark.capability("RL-25")
def test_whatever_learns_from_a_verifier_needs_its_audit_or_a_reason() -> None:
    found = audit(NumberAnswer(), CHEATED)
    assert require_audit(NumberAnswer(), found) == "passed"
    assert require_audit(NumberAnswer(), None, "a toy") == "none: a toy"
    for no_reason in ("", "  "):
        with pytest.raises(VerifierError, match="has no audit"):
            require_audit(NumberAnswer(), None, no_reason)
    with pytest.raises(VerifierError, match="not of the verifier"):
        require_audit(NumberAnswer(tolerance=0.5), found)
    with pytest.raises(RecipeError, match="an audit and a reason"):
        require_audit(NumberAnswer(), found, "a toy")


@pytest.mark.capability("RL-25")
@pytest.mark.parametrize("name", sorted(VERIFIERS))
def test_every_named_verifier_accepts_gold_and_rejects_mutations_and_cheats(name: str, tmp_path: Path) -> None:
    if name in PROGRAMS and shutil.which(PROGRAMS[name]) is None:
        pytest.skip(f"{PROGRAMS[name]} is not installed")
    try:
        subject = find_subject(name, Workspace.here(tmp_path), limit=8)
    except MissingDependencyError as error:
        pytest.skip(error.what)
    kinds = {case.kind for case in subject.cases}
    assert kinds == {"gold", "mutation", "cheat"}
    audit(subject.verifier, subject.cases).require()


def _said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")
