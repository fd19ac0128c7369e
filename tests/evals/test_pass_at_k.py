"""pass@k and pass^k over a suite, against closed forms and a simulation."""

import random
from math import comb

import pytest

from strop.evals.pass_at_k import repeated
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.statistics import wilson
from suite_outcomes import result, sample


def item(name: str, *passed: bool | None, cluster: str = "", cost: float | None = None) -> ItemResult:
    samples: list[SampleResult] = [
        sample("timeout") if one is None else sample(cost=cost, accuracy=float(one)) for one in passed
    ]
    return ItemResult(id=name, slices={}, question="", samples=tuple(samples), cluster=cluster or name)


def outcome(*items: ItemResult) -> SuiteResult:
    return result(items=items)


def test_pass_at_k_and_pass_hat_k_are_the_means_of_the_closed_forms() -> None:
    found = {one.k: one for one in repeated(outcome(item("a", True, True, False, False), item("b", *[False] * 4)))}
    assert list(found) == [1, 2, 4]
    assert found[1].any_passes.value == found[1].all_pass.value == pytest.approx((0.5 + 0) / 2)
    assert found[2].any_passes.value == pytest.approx((1 - comb(2, 2) / comb(4, 2)) / 2)
    assert found[2].all_pass.value == pytest.approx(comb(2, 2) / comb(4, 2) / 2)
    assert (found[4].any_passes.value, found[4].all_pass.value) == (0.5, 0.0)
    assert found[4].all_pass.interval == wilson(0, 2)


def test_k_answers_take_k_times_the_tokens_and_the_money() -> None:
    found = repeated(outcome(item("a", True, False, cost=0.25), item("b", True, True, cost=0.75)))
    assert [one.tokens.value for one in found] == [5, 10]  # ``sample`` writes five tokens
    assert [one.cost for one in found] == [0.5, 1.0]
    assert repeated(outcome(item("a", True, False)))[0].cost is None


def test_what_could_not_be_judged_leaves_the_task_out_where_too_few_are_left() -> None:
    found = {one.k: one for one in repeated(outcome(item("a", True, None, None), item("b", True, False, True)))}
    assert [found[k].any_passes.num_items for k in (1, 2, 3)] == [2, 1, 1]
    assert found[1].any_passes.value == pytest.approx((1 + 2 / 3) / 2)
    assert repeated(outcome(item("a", None, None)))[0].any_passes == (None, 0, None)


def test_one_answer_a_task_has_no_such_table() -> None:
    assert repeated(outcome(item("a", True), item("b", False))) == ()


@pytest.mark.slow
def test_the_estimate_is_unbiased_and_its_interval_holds_the_truth() -> None:
    """Tasks with pass rates 0.1 and 0.7, half each: pass@2 is 1 - (0.9² + 0.3²) / 2, pass^2 is (0.01 + 0.49) / 2."""
    rng = random.Random(5)
    truth_any, truth_all = 1 - (0.81 + 0.09) / 2, (0.01 + 0.49) / 2
    estimates, held = [], 0
    for _ in range(150):
        items = [item(f"t{n}", *(rng.random() < rate for _ in range(6))) for n, rate in enumerate([0.1, 0.7] * 40)]
        at_two = repeated(outcome(*items))[1]
        assert at_two.any_passes.interval is not None
        assert at_two.any_passes.value is not None
        assert at_two.all_pass.value is not None
        estimates.append((at_two.any_passes.value, at_two.all_pass.value))
        held += at_two.any_passes.interval.low <= truth_any <= at_two.any_passes.interval.high
    assert sum(a for a, _ in estimates) / 150 == pytest.approx(truth_any, abs=0.01)  # standard error 0.002
    assert sum(b for _, b in estimates) / 150 == pytest.approx(truth_all, abs=0.01)
    assert held >= 130  # 95 % of 150 is 142; six standard deviations below is 126


def test_answers_of_one_cluster_are_one_piece_of_evidence() -> None:
    alone = outcome(*(item(f"t{n}", n % 2 == 0, n % 2 == 0) for n in range(40)))
    tied = outcome(*(item(f"t{n}", n % 2 == 0, n % 2 == 0, cluster=f"c{n // 10 * 2 + n % 2}") for n in range(40)))
    wide, narrow = repeated(tied)[0].any_passes.interval, repeated(alone)[0].any_passes.interval
    assert wide is not None
    assert narrow is not None
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
