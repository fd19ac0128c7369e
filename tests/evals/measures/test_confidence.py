"""Confidence and its worth, worked by hand."""

import math

import pytest

from measured_answers import RIGHT, UNKNOWN, WRONG, said, task
from strop.evals import ItemResult, Metric, SampleResult, SuiteResult
from strop.evals.measures import agreement_of, calibrate, calibration_of, measure_confidence
from strop.evals.measures.confidence import risk_coverage
from suite_outcomes import result, sample


@pytest.mark.capability("RS-07")
def test_confidence_is_the_geometric_mean_of_the_token_probabilities() -> None:
    # probabilities 0.5 and 0.125: √(0.5 · 0.125) = 0.25
    answer = said("ab", logprobs=[math.log(0.5), math.log(0.125)])
    assert measure_confidence(task(), answer, RIGHT)["confidence"] == pytest.approx(0.25)
    assert measure_confidence(task(), answer, RIGHT)["brier"] == pytest.approx(0.75**2)
    assert measure_confidence(task(), answer, WRONG)["brier"] == pytest.approx(0.25**2)


def test_an_answer_without_tokens_has_no_confidence_and_an_unjudged_one_no_brier_score() -> None:
    assert measure_confidence(task(), said(""), WRONG) == {"confidence": None, "brier": None}
    assert measure_confidence(task(), said("a", logprobs=[0.0]), UNKNOWN) == {"confidence": 1.0, "brier": None}


def test_a_probability_that_is_no_number_is_no_certainty() -> None:
    found = measure_confidence(task(), said("ab", logprobs=[-0.1, math.nan]), RIGHT)
    assert math.isnan(found["confidence"] or 0.0)  # the evaluation refuses it by the task's name


@pytest.mark.capability("RS-07")
def test_the_calibration_of_four_answers_by_hand() -> None:
    # sure and right, sure and wrong, unsure and right, unsure and wrong
    found = calibrate([0.9, 0.8, 0.3, 0.2], [True, False, True, False])
    assert found is not None
    # each in a bin of its own: (0.1 + 0.8 + 0.7 + 0.2) / 4
    assert found.ece == pytest.approx(0.45)
    # (0.01 + 0.64 + 0.49 + 0.04) / 4
    assert found.brier == pytest.approx(0.295)
    # of the four pairs right × wrong three are in order
    assert found.auc == pytest.approx(3 / 4)
    # errors among the 1, 2, 3, 4 surest: 0, 1/2, 1/3, 1/2
    assert found.area_under_risk == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.selective == {0.25: 1.0, 0.5: 0.5, 0.75: pytest.approx(2 / 3), 1.0: 0.5}


def test_answers_that_are_equally_sure_are_in_no_order() -> None:
    assert risk_coverage([0.5, 0.5], [True, False]) == [0.5, 0.5]
    assert risk_coverage([0.5, 0.5], [False, True]) == [0.5, 0.5]


@pytest.mark.capability("RS-07")
def test_a_confidence_that_knows_gains_accuracy_by_silence_and_one_that_does_not_gains_none() -> None:
    outcomes = [True] * 60 + [False] * 40
    knows = calibrate([0.9] * 60 + [0.1] * 40, outcomes)
    blind = calibrate([0.9] * 100, outcomes)
    assert knows is not None
    assert blind is not None
    assert (knows.selective[0.5], blind.selective[0.5]) == (1.0, pytest.approx(0.6))
    assert (knows.ece, blind.ece) == (pytest.approx(0.1), pytest.approx(0.3))
    assert (knows.auc, blind.auc) == (1.0, 0.5)


def test_where_all_are_right_there_is_no_ranking_and_without_answers_nothing() -> None:
    found = calibrate([0.9, 0.8], [True, True])
    assert found is not None
    assert found.auc is None
    assert calibrate([], []) is None
    assert calibration_of(result([1.0, 0.0])) is None


def suite_of(*items: list[SampleResult]) -> SuiteResult:
    made = [ItemResult(id=f"i{at}", slices={}, question="q", samples=tuple(one)) for at, one in enumerate(items)]
    return result(items=made, metrics={"accuracy": Metric(direction="higher")})


def test_what_could_not_be_judged_is_left_out_of_the_calibration_of_a_suite() -> None:
    found = calibration_of(
        suite_of(
            [sample(accuracy=1.0, confidence=0.9)],
            [sample(accuracy=0.0, confidence=0.4)],
            [sample(state="timeout", confidence=0.9)],
        )
    )
    assert found is not None
    assert (found.num_answers, found.accuracy, found.mean_confidence) == (2, 0.5, pytest.approx(0.65))


def test_agreement_is_the_share_of_answers_that_come_to_the_most_frequent_result() -> None:
    def one(text: str, is_right: bool) -> SampleResult:
        return SampleResult(**{**vars(sample(accuracy=float(is_right))), "text": text})

    # three of four come to 5 by different ways and are right; one of two says the same wrong thing first
    found = agreement_of(
        suite_of(
            [one("2+3=5. Answer: 5", True), one("Answer: 5", True), one("3+2=5. Answer: 5", True), one("6", False)],
            [one("a", False), one("b", True)],
            [one("alone", True)],
        )
    )
    assert found is not None
    assert (found.num_answers, found.mean_confidence, found.accuracy) == (2, pytest.approx((0.75 + 0.5) / 2), 0.5)
