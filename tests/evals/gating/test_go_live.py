"""G(x): one answer may go live only if all five predicates hold."""

import itertools
from dataclasses import replace

import pytest

from paired_outcomes import run_of
from strop.errors import RecipeError
from strop.evals import (
    GateConfig,
    GoLive,
    ItemResult,
    Metric,
    SuiteResult,
    gate,
    go_live,
    is_releasable,
    parse_gate_config,
)
from strop.types import Decision
from suite_outcomes import result, sample


def g(*held: bool | None) -> bool | None:
    safe, valid, grounded, quick, cheap = held
    return is_releasable(
        safe=safe,
        schema_valid=valid,
        grounded=grounded,
        latency_s=None if quick is None else (1.0 if quick else 3.0),
        cost=None if cheap is None else (0.01 if cheap else 0.03),
        max_latency_s=2.0,
        max_cost=0.02,
    )


@pytest.mark.capability("EV-01")
def test_the_truth_table_over_five_predicates_has_one_true_row() -> None:
    rows = {held: g(*held) for held in itertools.product((True, False), repeat=5)}
    assert len(rows) == 32
    assert [held for held, value in rows.items() if value] == [(True,) * 5]
    assert sum(value is False for value in rows.values()) == 31


@pytest.mark.capability("EV-01")
def test_what_was_not_measured_never_counts_as_good() -> None:
    for held in itertools.product((True, False, None), repeat=5):
        if None in held:
            assert g(*held) is (False if False in held else None)


def test_the_limits_themselves_are_allowed() -> None:
    limits = {"safe": True, "schema_valid": True, "grounded": True, "max_latency_s": 2.0, "max_cost": 0.02}
    assert is_releasable(**limits, latency_s=2.0, cost=0.02) is True
    assert is_releasable(**limits, latency_s=2.0001, cost=0.02) is False


METRICS = {"violation": Metric(direction="lower"), "schema_valid": Metric(direction="higher")}
RULE = GoLive(suite="finance", safe=("violation",), schema_valid=("schema_valid",), max_latency_s=1.0, min=0.5)


def item(number: int, kind: str = "tool", **fields: object) -> ItemResult:
    return ItemResult(id=f"i{number}", slices={"kind": kind}, question="q", samples=(sample(**fields),))  # type: ignore[arg-type]


def test_measures_become_predicates_in_their_direction() -> None:
    items = [
        item(0, accuracy=1.0, violation=0.0, schema_valid=1.0),
        item(1, accuracy=1.0, violation=1.0),
        item(2, accuracy=1.0, schema_valid=0.0),
        item(3, accuracy=1.0),
        item(4, accuracy=1.0, latency_s=1.5),
        item(5, state="timeout"),
    ]
    outcome = result(items=items, metrics=METRICS)
    assert [go_live(one, RULE, outcome) for one in items] == [True, False, False, True, False, None]


@pytest.mark.capability("EV-01")
def test_the_mean_and_every_floor_must_hold() -> None:
    items = [item(n, "tool", accuracy=1.0, schema_valid=1.0) for n in range(90)]
    items += [item(n, "refusal", accuracy=1.0, violation=float(n < 95)) for n in range(90, 120)]
    outcome = result(items=items, metrics=METRICS)
    rule = RULE.model_copy(update={"min": 0.9})
    assert gate({"finance": outcome}, None, GateConfig(go_live=(rule,))).outcome == "PASS"
    strict = rule.model_copy(update={"floors": {"kind=refusal": 0.9}})
    decision = gate({"finance": outcome}, None, GateConfig(go_live=(strict,)))
    assert decision.outcome == "BLOCK"
    failed = next(check for check in decision.checks if check.outcome == "BLOCK")
    assert failed.name == "finance.go_live[kind=refusal]"
    assert failed.numbers["value"] == pytest.approx(25 / 30)
    assert failed.numbers["items"] == ["i90", "i91", "i92", "i93", "i94"]


def test_a_check_that_failed_tells_how_many_items_fail_each_condition() -> None:
    """64 too slow, of which one is invalid too, and one unsafe: 65 of 120 fail, and one could not be judged."""
    items = [item(n, accuracy=1.0, schema_valid=float(n > 0), latency_s=1.5) for n in range(64)]
    items += [item(64, accuracy=1.0, violation=1.0, schema_valid=1.0), item(120, state="timeout")]
    items += [item(n, accuracy=1.0, violation=0.0, schema_valid=1.0) for n in range(65, 120)]
    decision = released(result(items=items, metrics=METRICS))
    found = next(check for check in decision.checks if check.name == "finance.go_live")
    assert found.outcome == "BLOCK"
    assert found.numbers["failed"] == {"latency": 64, "safe": 1, "schema_valid": 1}
    assert found.numbers["num_failed"] == 65
    assert found.reason.endswith("failed; of 65 that may not go live: latency 64, safe 1, schema_valid 1")
    held = next(check for check in released(by_boundary({})).checks if check.name == "finance.go_live")
    assert "may not go live" not in held.reason


def test_a_cost_limit_without_a_price_is_insufficient_and_never_a_pass() -> None:
    items = [item(n, accuracy=1.0) for n in range(120)]
    rule = RULE.model_copy(update={"max_cost": 0.01})
    decision = gate({"finance": result(items=items, metrics=METRICS)}, None, GateConfig(go_live=(rule,)))
    assert decision.outcome == "INSUFFICIENT"


def test_a_latency_that_nobody_measured_is_not_a_quick_one() -> None:
    """Results of lm-eval have no times: theirs stand as 0."""
    items = [item(n, accuracy=1.0, violation=0.0, schema_valid=1.0, latency_s=0.0) for n in range(120)]
    timed = result(items=items, metrics=METRICS)
    imported = replace(timed, surroundings={"imported": {"from": "lm-eval"}})
    assert released(timed).outcome == "PASS"
    assert released(imported).outcome == "INSUFFICIENT"
    assert released(imported, max_latency_s=None).outcome == "PASS"


def test_a_predicate_that_applied_to_no_answer_is_not_a_predicate_that_held() -> None:
    items = [item(n, accuracy=1.0, schema_valid=1.0) for n in range(120)]
    decision = released(result(items=items, metrics=METRICS))
    assert decision.outcome == "INSUFFICIENT"
    odd = next(check for check in decision.checks if check.outcome == "INSUFFICIENT")
    assert odd.name == "go_live: finance.violation is measured"


def test_a_judge_that_the_baseline_did_not_have_is_asked_all_the_same() -> None:
    """Values of two judges are not compared; a candidate's own, all bad, are not forgotten."""
    sides = [
        result([value] * 120, metric="judged_safe", judge=judge) for value, judge in ((0.0, "new judge"), (1.0, "old"))
    ]
    rule = GoLive(suite="finance", safe=("judged_safe",), min=0.9)
    decision = gate({"finance": sides[0]}, {"finance": sides[1]}, GateConfig(go_live=(rule,)))
    assert decision.outcome == "BLOCK"
    found = next(check for check in decision.checks if check.name == "finance.go_live")
    assert (found.outcome, found.numbers["value"]) == ("BLOCK", 0.0)


def test_an_answer_that_a_judge_failed_at_is_not_one_that_it_passed() -> None:
    rule = GoLive(suite="finance", safe=("judged_safe",), min=0.9)
    values = [1.0] * 40 + [None] * 80
    decision = gate({"finance": run_of({"judged_safe": values})}, None, GateConfig(go_live=(rule,)))
    found = next(check for check in decision.checks if check.name == "finance.go_live")
    assert found.numbers["num_items"] == 40


def test_an_item_without_answers_has_no_g() -> None:
    silent = ItemResult(id="silent", slices={}, question="q", samples=())
    assert go_live(silent, RULE, result(items=[silent], metrics=METRICS)) is None


@pytest.mark.parametrize(
    "fields", [{}, {"max_latency_s": -1.0}, {"max_latency_s": float("nan")}, {"max_cost": float("inf")}]
)
def test_a_rule_that_asks_nothing_or_cannot_be_met_is_refused(fields: dict[str, float]) -> None:
    safe = {"safe": ["violation"]} if fields else {}
    with pytest.raises(RecipeError, match="go_live"):
        parse_gate_config({"go_live": [{"suite": "finance", "min": 0.5, **safe, **fields}]})


def test_a_rule_that_names_nothing_known_is_refused() -> None:
    outcome = result(items=[item(0, accuracy=1.0)], metrics=METRICS)
    for update, near in (({"suite": "finanse"}, "finance"), ({"safe": ("violatoin",)}, "violation")):
        with pytest.raises(RecipeError, match=f"did you mean `{near}`"):
            gate({"finance": outcome}, None, GateConfig(go_live=(RULE.model_copy(update=update),)))


# ------------------------------------------------------------------------------------------------- floors of slices

BOUNDARIES = ("answerable", "with_constraints", "must_refuse")


def by_boundary(num_bad: dict[str, int]) -> SuiteResult:
    """40 items of each of the three boundaries, of which so many are wrong: refused, careless, or obeyed."""
    items = [
        ItemResult(
            id=f"{boundary}-{n}",
            slices={"boundary": boundary, "language": "en" if n % 2 else "de"},
            question="q",
            samples=(sample(accuracy=1.0, violation=float(n < num_bad.get(boundary, 0)), schema_valid=1.0),),
        )
        for boundary in BOUNDARIES
        for n in range(40)
    ]
    return result(items=items, metrics=METRICS)


def released(outcome: SuiteResult, **settings: object) -> Decision:
    return gate({"finance": outcome}, None, GateConfig(go_live=(RULE.model_copy(update=settings),)))


@pytest.mark.capability("EV-36")
@pytest.mark.capability("QA-5")
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_each_of_the_three_boundaries_has_its_own_floor(boundary: str) -> None:
    """8 of 40 wrong on one boundary are 93 % right overall, and 80 % there."""
    outcome = by_boundary({boundary: 8})
    assert released(outcome, min=0.9).outcome == "PASS"
    decision = released(outcome, min=0.9, floors={"boundary": 0.9})
    assert decision.outcome == "BLOCK"
    failed = [check for check in decision.checks if check.outcome == "BLOCK"]
    assert [check.name for check in failed] == [f"finance.go_live[boundary={boundary}]"]
    assert failed[0].numbers["value"] == 0.8
    assert failed[0].numbers["items"] == [f"{boundary}-{n}" for n in range(8)]


@pytest.mark.capability("EV-01")
def test_a_floor_holds_for_every_slice_and_what_names_one_outdoes_it() -> None:
    outcome = by_boundary({"answerable": 8})
    names = [check.name for check in released(outcome, floor=0.8).checks if "go_live" in check.name]
    assert names == ["finance.go_live"] + [
        f"finance.go_live[{where}]"
        for where in (*(f"boundary={b}" for b in sorted(BOUNDARIES)), "language=de", "language=en")
    ]
    assert released(outcome, floor=0.8).outcome == "PASS"
    assert released(outcome, floor=0.85).outcome == "BLOCK"
    assert released(outcome, floor=0.85, floors={"boundary": 0.9, "boundary=answerable": 0.8}).outcome == "PASS"


def test_a_slice_too_small_for_its_floor_is_insufficient_and_an_empty_one_is_refused() -> None:
    items = [item(n, "tool", accuracy=1.0) for n in range(110)] + [
        item(n, "rare", accuracy=1.0) for n in range(110, 120)
    ]
    outcome = result(items=items, metrics=METRICS)
    assert released(outcome, floor=0.5).outcome == "INSUFFICIENT"
    with pytest.raises(RecipeError, match="no item is in it"):
        released(outcome, floors={"kind=gone": 0.5})


@pytest.mark.capability("LC-16")
@pytest.mark.capability("CK-8")
def test_the_score_that_training_raised_is_not_what_the_gate_asks() -> None:
    """The verifier gives every answer full marks; G is judged by the measures, and blocks."""
    outcome = by_boundary({"must_refuse": 40})
    assert all(answer.score == 1.0 for answer in outcome.samples)
    assert released(outcome, min=0.9).outcome == "BLOCK"
