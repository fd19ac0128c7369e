"""Every metric has a direction, a dimension, and companions without which it is not read."""

import pytest

from strop.evals.measures import METRICS, described, metrics_of
from strop.evals.suite import DIMENSIONS, Metric, world_suite
from strop.worlds import get_world, world_names

WORLDS = [name for name in world_names() if name != "contest"]


@pytest.mark.parametrize("name", WORLDS)
def test_every_metric_of_every_world_has_a_dimension_and_keeps_its_direction(name: str) -> None:
    world = get_world(name)
    metrics = world_suite(world, num_tasks=1).metrics
    assert {metric: one.direction for metric, one in metrics.items()} == dict(world.metrics)
    assert all(one.dimension in DIMENSIONS for one in metrics.values())


@pytest.mark.capability("EV-02", "EV-03", "EV-04", "EV-05")
def test_the_finance_suite_speaks_of_all_four_dimensions() -> None:
    metrics = world_suite(get_world("finance"), num_tasks=1).metrics
    by_dimension = {name: {metric for metric, one in metrics.items() if one.dimension == name} for name in DIMENSIONS}
    assert {"argument_exact", "preferred"} <= by_dimension["helpfulness"]
    assert {"violation", "refusal_recall"} <= by_dimension["harmlessness"]
    assert "grounded" in by_dimension["truthfulness"]
    assert {"schema_valid", "tool_precision", "tool_recall"} <= by_dimension["reliability"]


@pytest.mark.parametrize(
    ("metric", "companion"),
    [
        ("schema_valid", "argument_exact"),
        ("violation", "over_refusal"),
        ("over_refusal", "violation"),
        ("preferred", "grounded"),
        ("tool_precision", "tool_recall"),
    ],
)
def test_a_metric_that_misleads_alone_names_its_companion(metric: str, companion: str) -> None:
    assert companion in world_suite(get_world("finance"), num_tasks=1).metrics[metric].beside


def test_a_companion_that_is_not_measured_gives_way_to_accuracy() -> None:
    assert described({"schema_valid": "higher"})["schema_valid"].beside == ("accuracy",)
    assert described({"preferred": "higher", "accuracy": "higher"})["preferred"].beside == ("accuracy",)
    assert described({"accuracy": "higher"})["accuracy"].beside == ()


def test_a_metric_that_nobody_knows_has_no_dimension_and_accuracy_beside_it() -> None:
    found = described({"sparkle": "lower"})["sparkle"]
    assert (found.direction, found.dimension, found.beside) == ("lower", None, ("accuracy",))


def test_a_weight_that_is_not_measured_is_dropped_and_every_answer_counts_once() -> None:
    assert described({"tool_precision": "higher"})["tool_precision"].weight is None
    assert described({"tool_precision": "higher", "num_calls": "lower"})["tool_precision"].weight == "num_calls"
    assert metrics_of(["tool_precision"], weights=["num_calls"])["tool_precision"].weight == "num_calls"


def test_counts_of_what_was_done_are_no_gates() -> None:
    assert not any(METRICS[name].is_gate for name in ("call_rate", "num_calls", "num_claims", "confidence"))


def test_every_companion_and_weight_in_the_table_is_in_the_table_or_counted() -> None:
    counted = {"num_known"}
    for name, metric in METRICS.items():
        assert isinstance(metric, Metric)
        assert set(metric.beside) <= set(METRICS), name
        assert metric.weight is None or metric.weight in METRICS or metric.weight in counted, name
