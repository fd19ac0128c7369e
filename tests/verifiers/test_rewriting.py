"""The checker of rewriting proofs: golden ones pass, every corrupted step is named with its place and reason."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers.rewriting import RewritingProof, Step
from strop.worlds import get_world

RULES = [["ab", "ba"], ["c", "a"], ["bb", "b"]]
TASK = Task(id="t", prompt=(), reference={"rules": RULES, "start": "acb", "goal": "baa"})
WORLD = get_world("rewriting")
DRAWN = [task for level in WORLD.levels for task in WORLD.tasks("train", 8, **level)]


def judged(text: str, task: Task = TASK, finish_reason: str = "stop") -> Verdict:
    answer = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)  # type: ignore[arg-type]
    return RewritingProof()(task, answer)


def follows(before: str, rules: list[list[str]], step: Step) -> bool:
    """By definition, tried at every place: the oracle."""
    if not 1 <= step.rule <= len(rules):
        return False
    left, right = rules[step.rule - 1]
    return any(
        before[at : at + len(left)] == left
        and before[:at] + right + before[at + len(left) :] == step.result
        and step.position in (None, at)
        for at in range(len(before))
    )


@pytest.mark.capability("IM-06")
@pytest.mark.parametrize(
    "text",
    [
        "2: a a b; 1: a b a; 1: b a a",
        "2: aab\n1: aba\n1: baa",
        "Proof: 2@1: a a b; 1@1: a b a; 1@0: b a a.",
    ],
)
def test_a_proof_passes_however_it_is_spaced_and_whether_or_not_it_says_the_places(text: str) -> None:
    verdict = judged(text)
    assert verdict.passed
    assert verdict.steps == (1.0, 1.0, 1.0)
    assert verdict.reasons == ("proved in 3 steps",)


@pytest.mark.capability("IM-06")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2: a a b; 3: a b", "step 2: rule 3 does not apply to `a a b`"),
        ("2: a a b; 1@0: a b a", "step 2: rule 1 does not apply at 0 of `a a b`"),
        ("2: a a b; 1: b a a", "step 2: rule 1 turns `a a b` into `a b a`, not `b a a`"),
        ("2: a a b; 4: b a a", "step 2: there is no rule 4, only 1 to 3"),
        ("2: a a b; 0: b a a", "step 2: there is no rule 0, only 1 to 3"),
        ("2: a a b; so a b a", "step 2: `so a b a` cannot be read as `RULE: STRING`"),
        ("2: a a b", "the proof ends at `a a b`, not at the goal `b a a`"),
    ],
)
def test_the_reason_names_the_step_and_what_is_wrong_with_it(text: str, reason: str) -> None:
    verdict = judged(text)
    assert not verdict.passed
    assert verdict.reasons[0] == reason


def test_a_rule_with_several_places_says_so_where_none_gives_the_stated_string() -> None:
    task = Task(id="t", prompt=(), reference={"rules": [["a", "b"]], "start": "aa", "goal": "bb"})
    assert judged("1: b a; 1: b b", task).passed
    assert judged("1: b b", task).reasons[0] == (
        "step 1: rule 1 turns `a a` into none of its 2 results, but `b b` is stated"
    )


def test_later_steps_are_judged_from_what_is_stated_and_not_at_all_after_a_line_that_cannot_be_read() -> None:
    wrong_then_right = judged("2: a b b; 1: b a b; 1: b b a")
    assert wrong_then_right.steps == (0.0, 1.0, 1.0)
    assert len(wrong_then_right.reasons) == 2
    unread = judged("2: a a b; hm; 1: a b a; 1: b a a")
    assert unread.steps == (1.0, 0.0, None, 1.0)
    assert unread.state == "unparsable"
    assert unread.score == 0.0


@pytest.mark.capability("IM-06")
@given(st.data())
def test_every_corrupted_step_of_a_golden_proof_is_located(data: st.DataObject) -> None:
    task = data.draw(st.sampled_from(DRAWN))
    rules, before = task.reference["rules"], [task.reference["start"]]
    proof = []
    for line in WORLD.reference_steps(task):
        rule, _, result = line.partition(": ")
        proof.append(Step(rule=int(rule), result=result.replace(" ", "")))
        before.append(proof[-1].result)
    at = data.draw(st.integers(0, len(proof) - 1))
    kind = data.draw(st.sampled_from(["rule", "result", "place"]))
    corrupted = Step(
        rule=data.draw(st.integers(0, len(rules) + 2)) if kind == "rule" else proof[at].rule,
        result=data.draw(st.text("abcd", max_size=9)) if kind == "result" else proof[at].result,
        position=data.draw(st.integers(0, 9)) if kind == "place" else None,
    )
    assume(not follows(before[at], rules, corrupted))
    verdict = judged("; ".join(step.text for step in [*proof[:at], corrupted, *proof[at + 1 :]]), task)
    assert not verdict.passed
    assert verdict.steps[: at + 1] == (*[1.0] * at, 0.0)
    assert verdict.reasons[0].startswith(f"step {at + 1}: ")


@given(st.sampled_from(DRAWN), st.lists(st.tuples(st.integers(1, 4), st.text("abc", max_size=5)), max_size=6))
def test_step_scores_are_what_the_definition_says_of_each_line(task: Task, lines: list[tuple[int, str]]) -> None:
    steps = [Step(rule=rule, result=result) for rule, result in lines]
    verdict = judged("; ".join(step.text for step in steps), task)
    before = [task.reference["start"], *(step.result for step in steps)]
    rules = task.reference["rules"]
    expected = tuple(float(follows(text, rules, step)) for text, step in zip(before, steps, strict=False))
    assert verdict.steps == expected
    assert verdict.passed == (bool(steps) and 0.0 not in expected and before[-1] == task.reference["goal"])


def test_a_truncated_proof_an_endless_one_and_a_task_without_rules() -> None:
    assert judged("2: a a b; 1: a b a; 1: b a a", finish_reason="length").reasons == ("truncated",)
    circle = Task(id="t", prompt=(), reference={"rules": [["a", "b"], ["b", "a"]], "start": "a", "goal": "b"})
    endless = "; ".join(["1: b; 2: a"] * 150 + ["1: b"])
    assert judged(endless, circle).reasons == ("step 201: a proof has at most 200 steps",)
    with pytest.raises(VerifierError, match="no rewriting problem"):
        judged("1: a", Task(id="t", prompt=(), reference={}))
