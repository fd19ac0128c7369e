"""G(x): one answer may go live only if all five predicates hold."""

import itertools

import pytest

from strop.errors import RecipeError
from strop.evals import GateConfig, GoLive, ItemResult, Metric, gate, go_live, is_releasable
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


def test_a_cost_limit_without_a_price_is_insufficient_and_never_a_pass() -> None:
    items = [item(n, accuracy=1.0) for n in range(120)]
    rule = RULE.model_copy(update={"max_cost": 0.01})
    decision = gate({"finance": result(items=items, metrics=METRICS)}, None, GateConfig(go_live=(rule,)))
    assert decision.outcome == "INSUFFICIENT"


def test_a_rule_that_names_nothing_known_is_refused() -> None:
    outcome = result(items=[item(0, accuracy=1.0)], metrics=METRICS)
    for update, near in (({"suite": "finanse"}, "finance"), ({"safe": ("violatoin",)}, "violation")):
        with pytest.raises(RecipeError, match=f"did you mean `{near}`"):
            gate({"finance": outcome}, None, GateConfig(go_live=(RULE.model_copy(update=update),)))
