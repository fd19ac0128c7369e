"""People as evidence: a gate that demands them decides nothing without a session of exactly these models."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labelling import judge_as, two
from strop.errors import MismatchError, RecipeError
from strop.evals import GateConfig, gate, parse_gate_config
from strop.evals.gating.evidence import BlockingTest
from strop.evals.gating.evidence_files import read_evidence
from strop.evals.people import (
    PeopleEvidence,
    PeopleRule,
    Plan,
    Session,
    analyse,
    read_people_evidence,
    require_people,
    write_people_evidence,
)
from strop.types import Check
from suite_outcomes import ones, result

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def evidence(wins: int = 60, ties: int = 20, losses: int = 40, **changed: object) -> PeopleEvidence:
    settings: dict[str, object] = {
        "session": "5e55",
        "candidate": "new",
        "baseline": "old",
        "suite": "people",
        "num_identical": 0,
        "annotators": ("ann",),
        "excluded": (),
        "last": (NOW - timedelta(days=3)).isoformat(),
    }
    return PeopleEvidence(wins=wins, ties=ties, losses=losses, **{**settings, **changed})  # type: ignore[arg-type]


def outcomes(one: PeopleEvidence, **rule: object) -> dict[str, str]:
    found = replace(one, rule=PeopleRule(**rule)).findings_at(NOW)  # type: ignore[arg-type]
    return {check.name.partition(": ")[2]: check.outcome for check in found if isinstance(check, Check)}


def decide(
    one: PeopleEvidence | None, config: GateConfig, *, model: str = "new", baseline: str = "old"
) -> dict[str, str]:
    """The gate on 200 unchanged items, with what it says about people."""
    now, before = result(ones(180, 200), model=model), result(ones(180, 200), model=baseline)
    decision = gate({"finance": now}, {"finance": before}, config, () if one is None else (one,))
    people = {check.name: check.outcome for check in decision.checks if check.name.startswith("people")}
    return {**people, "decision": decision.outcome}


@pytest.mark.capability("EV-44")
def test_a_release_that_demands_people_needs_a_session_of_exactly_these_models() -> None:
    config = GateConfig(people=PeopleRule(max_age_days=None))
    assert decide(None, config) == {"people": "INSUFFICIENT", "decision": "INSUFFICIENT"}
    for other in (evidence(candidate="another"), evidence(baseline="another")):
        assert decide(other, config) == {"people": "INSUFFICIENT", "decision": "INSUFFICIENT"}
    told = decide(evidence(), config)
    assert told["decision"] == "PASS"
    assert told["people on people: the baseline is preferred"] == "PASS"
    assert decide(None, GateConfig())["decision"] == "PASS", "nobody asked for people"
    assert decide(evidence(candidate="another"), GateConfig())["decision"] == "INSUFFICIENT", "given, but of another"
    both = require_people(PeopleRule(), [evidence(), evidence(baseline="another")], candidate="new", baseline="old")
    assert [one.reason for one in both if isinstance(one, Check) and one.outcome == "INSUFFICIENT"] == [
        "the session 5e55 was judged with another baseline (another)"
    ], "beside one that fits it is not passed over"


@pytest.mark.capability("EV-44")
def test_the_decision_names_the_session_and_people_who_prefer_the_baseline_block() -> None:
    config = GateConfig(people=PeopleRule(max_age_days=None))
    now, before = result(ones(180, 200), model="new"), result(ones(180, 200), model="old")
    decision = gate({"finance": now}, {"finance": before}, config, (evidence(30, 20, 70),))
    assert decision.outcome == "BLOCK"
    blocked = [check for check in decision.checks if check.outcome == "BLOCK"]
    assert [check.name for check in blocked] == ["people on people: the baseline is preferred"]
    assert blocked[0].numbers["session"] == "5e55"
    assert "preferred the candidate 30 times and the baseline 70 times" in blocked[0].reason


def test_the_preference_test_is_the_exact_sign_test() -> None:
    """Of 10 decided pairs 2 for the candidate: (1 + 10 + 45) / 1024."""
    found = replace(evidence(2, 90, 8), rule=PeopleRule(min_pairs=1)).findings_at(NOW)
    tests = [one for one in found if isinstance(one, BlockingTest)]
    assert [one.p_value for one in tests] == [pytest.approx(56 / 1024)]


def test_too_few_pairs_people_or_too_old_is_insufficient_and_nothing_else_is_said() -> None:
    assert outcomes(evidence(), min_pairs=121) == {"enough": "INSUFFICIENT"}
    assert outcomes(evidence(), min_pairs=120)["enough"] == "PASS"
    assert outcomes(evidence(num_identical=10), min_pairs=111) == {"enough": "INSUFFICIENT"}
    assert outcomes(evidence(), min_annotators=2) == {"enough": "INSUFFICIENT"}
    assert outcomes(evidence(), max_age_days=2) == {"enough": "INSUFFICIENT"}
    assert outcomes(evidence(), max_age_days=4)["enough"] == "PASS"


def test_the_win_rate_is_asked_by_value_and_non_inferiority_by_its_interval() -> None:
    """70 of 120 points: 0.583 with Wilson 0.494 to 0.668; 45 of 120: 0.375 with 0.293 to 0.464."""
    good, bad = evidence(60, 20, 40), evidence(40, 10, 70)
    assert outcomes(good, min_win_rate=0.58)["win rate"] == "PASS"
    assert outcomes(good, min_win_rate=0.59)["win rate"] == "BLOCK"
    assert outcomes(good, margin=0.05)["not worse"] == "PASS", "0.494 lies above 0.45"
    assert outcomes(good, margin=0.005)["not worse"] == "INSUFFICIENT", "0.494 lies below 0.495, 0.668 above"
    assert outcomes(bad, margin=0.03)["not worse"] == "BLOCK", "0.464 lies below 0.47"


def test_a_real_session_goes_to_disk_and_to_the_gate(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", *two(110), plan=Plan(num_pairs=110))
    judge_as(session, "ann", lambda place: place.pair.expected or "candidate")
    report = analyse(session)
    write_people_evidence(tmp_path / "out", report.evidence())
    read = read_people_evidence(tmp_path / "out")
    assert read == report.evidence()
    lenient = analyse(session, max_missed=1.0).evidence()
    assert (lenient.max_missed, lenient.digest != read.digest) == (1.0, True), "how lenient it was is in the record"
    assert read_evidence(tmp_path / "out") == read
    told = decide(read, GateConfig(people=PeopleRule(min_pairs=110, min_win_rate=0.9)), model="c", baseline="b")
    assert told["decision"] == "PASS"
    assert (
        decide(read, GateConfig(people=PeopleRule(min_pairs=111)), model="c", baseline="b")["decision"]
        == "INSUFFICIENT"
    )
    path = tmp_path / "out" / "evidence.json"
    path.write_text(path.read_text().replace('"losses": 0', '"losses": 1'))
    with pytest.raises(MismatchError, match="cannot use the evidence"):
        read_people_evidence(tmp_path / "out")


def test_the_rule_is_read_from_the_gate_and_its_mistakes_are_named() -> None:
    assert parse_gate_config({"people": {"min_pairs": 150}}).people == PeopleRule(min_pairs=150)
    with pytest.raises(RecipeError, match="min_pairs"):
        parse_gate_config({"people": {"min_pair": 150}})
