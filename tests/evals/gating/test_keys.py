"""What the keys of the gate's tables mean, and what may not be asked."""

import pytest

from paired_outcomes import run_of
from strop.errors import RecipeError
from strop.evals import Metric, SuiteResult, gate, parse_gate_config
from strop.evals.gating.keys import Place, drop_places, margins_by_place, suite_named, threshold_places

METRICS = {
    "accuracy": Metric(direction="higher", dimension="helpfulness"),
    "violation": Metric(direction="lower", dimension="harmlessness"),
    "call_rate": Metric(direction="higher", is_gate=False, beside=("tool_precision", "tool_recall")),
}
SLICES = [{"kind": "tool", "boundary": "answerable"}] * 20 + [{"kind": "refusal", "boundary": "must_refuse"}] * 20


def outcome() -> SuiteResult:
    columns = {
        "accuracy": [1.0] * 20 + [None] * 20,
        "violation": [0.0] * 40,
        "call_rate": [1.0] * 40,
        "length": [9.0] * 40,
    }
    return run_of(columns, metrics=METRICS, slices=SLICES)


def test_a_bare_slice_key_means_each_of_its_values_to_which_the_metric_applies() -> None:
    candidate = {"finance": outcome()}
    assert threshold_places("finance.violation[kind]", candidate) == [
        Place("finance", "violation", "kind=refusal"),
        Place("finance", "violation", "kind=tool"),
    ]
    assert threshold_places("finance.accuracy[kind]", candidate) == [Place("finance", "accuracy", "kind=tool")]
    assert threshold_places("finance.accuracy[kind=refusal]", candidate)[0].key == "finance.accuracy[kind=refusal]"


def test_a_margin_of_a_metric_outdoes_that_of_its_suite_and_that_outdoes_its_dimension() -> None:
    margins = {
        "finance.violation": 0.01,
        "finance.*": 0.02,
        "dimension:harmlessness": 0.03,
        "dimension:helpfulness": 0.04,
        "finance.*[kind=refusal]": 0.05,
        "finance.violation[kind]": 0.06,
        "finance.violation[kind=tool]": 0.07,
    }
    for order in (list(margins), list(reversed(margins))):
        assert margins_by_place({key: margins[key] for key in order}, {"finance": outcome()}) == {
            Place("finance", "violation", None): 0.01,
            Place("finance", "accuracy", None): 0.02,
            Place("finance", "accuracy", "kind=refusal"): 0.05,
            Place("finance", "violation", "kind=refusal"): 0.06,
            Place("finance", "violation", "kind=tool"): 0.07,
        }


def test_a_dimension_means_its_metrics_in_every_suite() -> None:
    candidate = {"finance": outcome(), "other": outcome()}
    assert drop_places("dimension:harmlessness", candidate, table="margins") == [
        Place("finance", "violation", None),
        Place("other", "violation", None),
    ]
    assert drop_places("dimension:reliability", candidate, table="margins") == []


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("finanse.*", "finance"),
        ("finance.acuracy", "accuracy"),
        ("finance.*[kinds]", "kind"),
        ("finance.accuracy[kind=refusals]", "kind=refusal"),
        ("dimension:harmlesness", "harmlessness"),
    ],
)
def test_a_margin_that_names_nothing_is_an_error_that_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(RecipeError, match=f"did you mean `{near}`"):
        gate({"finance": outcome()}, None, parse_gate_config({"margins": {key: 0.1}}))


@pytest.mark.parametrize("table", ["margins", "max_drop"])
def test_a_measure_without_a_direction_has_no_drop(table: str) -> None:
    with pytest.raises(RecipeError, match="a measure without a direction") as caught:
        gate({"finance": outcome()}, None, parse_gate_config({table: {"finance.length": 0.1}}))
    assert "rated: accuracy, violation" in str(caught.value)


@pytest.mark.capability("EV-49")
@pytest.mark.parametrize(
    "settings",
    [
        {"thresholds": {"finance.call_rate": {"min": 0.5}}},
        {"thresholds": {"finance.mean_calls": {"min": 0.5}}},
        {"margins": {"finance.call_rate": 0.1}},
        {"max_drop": {"finance.call_rate": 0.1}},
        {"go_live": [{"suite": "finance", "min": 0.5, "safe": ["call_rate"]}]},
    ],
)
def test_how_often_tools_are_called_decides_nothing(settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="not a measure that a gate can decide by"):
        gate({"finance": outcome()}, None, parse_gate_config(settings))


@pytest.mark.capability("EV-49")
def test_a_fall_of_the_call_rate_is_no_regression() -> None:
    before = outcome()
    columns = {
        "accuracy": [1.0] * 20 + [None] * 20,
        "violation": [0.0] * 40,
        "call_rate": [0.0] * 40,
        "length": [9.0] * 40,
    }
    now = run_of(columns, metrics=METRICS, slices=SLICES)
    config = parse_gate_config({"min_items": 20, "margins": {"finance.*": 0.2}})
    decision = gate({"finance": now}, {"finance": before}, config)
    assert decision.outcome == "PASS"
    assert not any("call_rate" in check.name for check in decision.checks)


def test_the_suite_of_a_key_is_known_before_anything_is_run() -> None:
    assert suite_named("my.suite.accuracy[kind=a]") == "my.suite"
    assert suite_named("finance.*[kind]") == "finance"
    assert suite_named("dimension:harmlessness") is None
    assert suite_named("accuracy") == "accuracy"
