"""Several verifiers are better than one, if they err apart."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest

from planted_verifiers import Planted
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import AuditCase, audit, judge_all
from strop.verifiers.ensemble import Ensemble


def unit(*key: object) -> float:
    """A number in 0..1 that is drawn once for every key."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8]) / 2**64


@dataclass(frozen=True, kw_only=True)
class Noisy:
    """Errs at random, each member on its own answers; ``shared`` of its errors are everybody's."""

    name: str
    false_accept: float
    false_reject: float = 0.0
    shared: float = 0.0

    @property
    def digest(self) -> str:
        return self.name

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        right = completion.text == "right"
        who = "everybody" if unit(task.id, "common") < self.shared else self.name
        errs = unit(task.id, who) < (self.false_reject if right else self.false_accept)
        return Verdict(score=float(right != errs), passed=right != errs)


def cases(text: str, number: int) -> list[AuditCase]:
    return [
        AuditCase(task=Task(id=f"{text}{n}", prompt=()), text=text, should_pass=text == "right") for n in range(number)
    ]


def members(rate: float, number: int = 3, **settings: Any) -> tuple[Noisy, ...]:
    return tuple(Noisy(name=f"m{n}", false_accept=rate, **settings) for n in range(number))


@pytest.mark.capability("RS-17")
@pytest.mark.parametrize(
    ("rule", "weights", "expected"),
    [
        ("all", (), 0.3**3),
        ("majority", (), 3 * 0.3**2 * 0.7 + 0.3**3),
        ("weighted", (3.0, 1.0, 1.0), 0.3),  # the first outweighs both others together
        ("weighted", (2.0, 1.0, 1.0), 0.3 * (1 - 0.7**2)),  # the first and one other
    ],
)
def test_false_accepts_of_independent_members_follow_the_closed_form(
    rule: Any, weights: tuple[float, ...], expected: float
) -> None:
    found = audit(Ensemble(members=members(0.3), rule=rule, weights=weights), cases("wrong", 4000))
    sigma = math.sqrt(expected * (1 - expected) / 4000)
    assert found.false_accept == pytest.approx(expected, abs=4 * sigma)
    single = audit(members(0.3)[0], cases("wrong", 4000))
    if weights[:1] != (3.0,):
        assert found.false_accept < (single.false_accept or 0) - 4 * sigma


def test_what_all_must_pass_rejects_more_right_answers() -> None:
    ensemble = Ensemble(members=members(0.3, false_reject=0.1), rule="all")
    found = audit(ensemble, cases("right", 4000))
    expected = 1 - 0.9**3
    assert found.false_reject == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))


def test_members_that_err_together_buy_nothing() -> None:
    found = audit(Ensemble(members=members(0.3, shared=1.0), rule="all"), cases("wrong", 4000))
    assert found.false_accept == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 4000))


PASS, FAIL = Verdict(score=1.0, passed=True), Verdict(score=0.0, passed=False)
UNREADABLE = Verdict(score=0.0, passed=False, state="unparsable")
LATE = Verdict(score=None, passed=False, state="timeout", reasons=("late",))


@pytest.mark.parametrize(
    ("rule", "verdicts", "passed"),
    [
        ("all", (PASS, PASS, PASS), True),
        ("all", (PASS, PASS, FAIL), False),
        ("all", (FAIL, LATE, LATE), False),
        ("all", (PASS, PASS, LATE), None),
        ("all", (PASS, UNREADABLE, LATE), False),
        ("majority", (PASS, PASS, LATE), True),
        ("majority", (FAIL, FAIL, LATE), False),
        ("majority", (PASS, FAIL, LATE), None),
        ("majority", (PASS, LATE, LATE), None),
        ("majority", (LATE, LATE, LATE), None),
        ("majority", (PASS, PASS, FAIL, FAIL), False),
        ("majority", (PASS, PASS, LATE, FAIL), None),
    ],
)
def test_a_member_that_did_not_grade_counts_neither_as_one_nor_as_zero(
    rule: Any, verdicts: tuple[Verdict, ...], passed: bool | None
) -> None:
    ensemble = Ensemble(members=members(0.1, len(verdicts)), rule=rule)
    for order in set(itertools.permutations(range(len(verdicts)))):
        found = ensemble.combine([verdicts[place] for place in order])
        if passed is None:
            assert (found.score, found.passed, found.state, found.is_graded) == (None, False, "timeout", False)
        else:
            assert (found.score, found.passed, found.state) == (float(passed), passed, "graded")


def test_the_reasons_name_the_members_and_the_agreement_is_of_those_that_graded() -> None:
    found = Ensemble(members=members(0.1)).combine([PASS, LATE, PASS])
    assert found.reasons == ("m0: passed", "m1: timeout, late", "m2: passed")
    assert found.measures == {"agreement": 1.0}
    assert Ensemble(members=members(0.1)).combine([PASS, FAIL, FAIL]).measures == {"agreement": pytest.approx(2 / 3)}


def test_a_member_that_hangs_is_one_vote_less() -> None:
    ensemble = Ensemble(members=(Planted(name="a", digest="a"), Planted(name="b", digest="b"), *members(1.0, 1)))
    answers = [
        (Task(id=text, prompt=()), Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop"))
        for text in ("2", "hang", "1", "exit")
    ]
    found = judge_all(ensemble, answers, deadline_s=1.0)
    assert [(verdict.state, verdict.score) for verdict in found] == [
        ("graded", 1.0),
        ("timeout", None),
        ("graded", 0.0),
        ("error", None),
    ]
    assert "a: timeout, a gave no answer within 1 s" in found[1].reasons[0]


def test_the_digest_is_of_members_and_rule() -> None:
    ensembles = [
        Ensemble(members=members(0.1)),
        Ensemble(members=members(0.1), rule="all"),
        Ensemble(members=members(0.1, 2)),
        Ensemble(members=members(0.1), rule="weighted", weights=(1.0, 1.0, 1.0)),
        Ensemble(members=members(0.1), rule="weighted", weights=(2.0, 1.0, 1.0)),
        Ensemble(members=members(0.1), rule="weighted", weights=(2.0, 1.0, 1.0), threshold=0.6),
    ]
    assert len({ensemble.digest for ensemble in ensembles}) == 6
    assert Ensemble(members=members(0.1)).digest == ensembles[0].digest


@pytest.mark.parametrize(
    "settings",
    [
        {"members": members(0.1, 1)},
        {"members": members(0.1, 1) * 2},
        {"members": members(0.1), "weights": (1.0, 1.0, 1.0)},
        {"members": members(0.1), "rule": "weighted"},
        {"members": members(0.1), "rule": "weighted", "weights": (1.0, 0.0, 1.0)},
        {"members": members(0.1), "rule": "weighted", "weights": (1.0, 1.0, 1.0), "threshold": 1.0},
        {"members": members(0.1), "threshold": 0.6},
        {"members": members(0.1), "rule": "most"},
    ],
)
def test_what_is_no_ensemble_is_refused(settings: Any) -> None:
    with pytest.raises(VerifierError):
        Ensemble(**settings)
