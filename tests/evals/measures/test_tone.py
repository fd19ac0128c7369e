"""A classifier of tone that can be read, with the audit that says how far to trust it."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from measured_answers import RIGHT, said, task
from strop.errors import DataError
from strop.evals import ItemResult
from strop.evals.measures import Tone, ToneAudit, ToneModel, audit_tone, fit_tone, fitted_tone
from strop.evals.measures.tone import FEATURES, texts_of
from strop.statistics import true_rate
from strop.worlds import get_world
from suite_outcomes import result, sample


@cache
def finance() -> Tone:
    world = get_world("finance")
    return fitted_tone(world.preferences("train", 200), world.preferences("test", 200))


def plain_model(**weights: float) -> ToneModel:
    return ToneModel(weights=weights, means=dict.fromkeys(weights, 0.0), scales=dict.fromkeys(weights, 1.0), bias=0.0)


@pytest.mark.capability("EV-28")
def test_the_tone_of_a_product_is_told_on_texts_that_it_was_not_fitted_on() -> None:
    audit = finance().audit
    assert min(audit.num_preferred, audit.num_rejected) >= 80
    assert audit.sensitivity >= 0.95
    assert audit.specificity >= 0.95


@pytest.mark.capability("EV-28")
def test_the_audit_finds_out_where_a_classifier_is_worth_nothing() -> None:
    # fitted on chatty against terse answers; among written reports the worse answers are no chattier
    other = get_world("finance_writing").preferences("test", 150)
    found = audit_tone(finance().model, *texts_of(other))
    assert found.sensitivity + found.specificity < 1.2
    blind = Tone(
        model=finance().model, audit=ToneAudit(num_preferred=10, preferred_found=5, num_rejected=10, rejected_found=5)
    )
    shown = result(items=[ItemResult(id="i", slices={}, question="q", samples=(sample(on_brand=1.0),))])
    assert blind.rate(shown).value is None


@pytest.mark.capability("EV-28")
def test_the_reported_share_is_corrected_for_the_audited_errors() -> None:
    # 60 of 100 seen, sensitivity 0.9, specificity 0.8: (0.6 + 0.8 - 1) / (0.9 + 0.8 - 1) = 4/7
    audit = ToneAudit(num_preferred=100, preferred_found=90, num_rejected=100, rejected_found=80)
    items = [
        ItemResult(id=f"i{at}", slices={}, question="q", samples=(sample(on_brand=float(at < 60)),))
        for at in range(100)
    ]
    rate = Tone(model=finance().model, audit=audit).rate(result(items=items))
    assert rate.value == pytest.approx(4 / 7)
    assert rate.value == pytest.approx(true_rate(0.6, 0.9, 0.8))
    assert rate.interval is not None
    assert rate.interval.low < 4 / 7 < rate.interval.high
    assert rate.interval.high - rate.interval.low > 2 * 1.96 * math.sqrt(0.24 / 100)  # wider than for a sure judge


def test_several_samples_and_items_of_a_cluster_are_shares_of_one_piece_of_evidence() -> None:
    audit = ToneAudit(num_preferred=400, preferred_found=400, num_rejected=400, rejected_found=400)
    tone = Tone(model=finance().model, audit=audit)
    once = [
        ItemResult(id=f"i{at}", slices={}, question="q", samples=(sample(on_brand=float(at % 2)),)) for at in range(10)
    ]
    halves = [
        ItemResult(id=f"i{at}", slices={}, question="q", samples=(sample(on_brand=1.0), sample(on_brand=0.0)))
        for at in range(5)
    ]
    # a sure judge of the same half each: the estimate is the share, not that of a rounded count
    assert tone.rate(result(items=once)).value == tone.rate(result(items=halves)).value == pytest.approx(0.5)
    copies = [replace(item, id=f"{item.id}-{copy}", cluster=item.id) for item in once for copy in range(5)]
    assert tone.rate(result(items=copies)).interval == tone.rate(result(items=once)).interval


def test_a_verdict_of_tone_is_the_sum_of_what_its_features_add() -> None:
    model = plain_model(exclamations=-2.0, sources=1.0)
    assert model.told("Paid! Now! [erp]") == {"exclamations": -4.0, "sources": 1.0}
    assert model("Paid! Now! [erp]") == pytest.approx(1 / (1 + math.exp(3)))


def test_the_fit_is_where_the_slope_of_the_penalised_loss_is_zero() -> None:
    better = ["It is 7 [erp].", "Spent 9 [erp].", "Maybe 9."]
    worse = ["Thank you so much! It might be 7.", "Please, I hope so.", "It is 8 [erp]."]
    model = fit_tone(better, worse)
    table = np.array([[measure(text) for measure in FEATURES.values()] for text in [*better, *worse]])
    scaled = (table - np.array(list(model.means.values()))) / np.array(list(model.scales.values()))
    weights = np.array(list(model.weights.values()))
    residual = 1 / (1 + np.exp(-(scaled @ weights + model.bias))) - np.array([1, 1, 1, 0, 0, 0])
    assert scaled.T @ residual + 0.1 * weights == pytest.approx(np.zeros(len(weights)), abs=1e-6)
    assert residual.sum() == pytest.approx(0.0, abs=1e-4)


def test_only_whole_answers_in_words_have_a_tone() -> None:
    tone = finance()
    assert tone(task(), said("Sales East spent 4503 in Q3 [query_erp]."), RIGHT) == {"on_brand": 1.0}
    assert tone(
        task(), said("Thank you for asking. I have checked carefully and I hope that 4503 is a great help."), RIGHT
    ) == {"on_brand": 0.0}
    for text, reason in (("<tool_call>{}</tool_call>", "stop"), ("It is", "length"), (" ", "stop")):
        assert tone(task(), said(text, finish_reason=reason), RIGHT) == {"on_brand": None}


def test_a_text_that_was_fitted_on_is_no_part_of_the_audit() -> None:
    world = get_world("finance")
    pairs = world.preferences("train", 40)
    with pytest.raises(DataError, match="held-out texts"):
        fitted_tone(pairs, pairs)
    better, worse = texts_of(world.preferences("test", 200))
    known = {text for side in texts_of(world.preferences("train", 200)) for text in side}
    assert finance().audit.num_preferred == sum(text not in known for text in better) < len(better)
    assert finance().audit.num_rejected == sum(text not in known for text in worse)


def test_texts_of_one_side_only_are_refused() -> None:
    with pytest.raises(DataError, match="1 preferred and 0 rejected"):
        fit_tone(["a"], [])
    with pytest.raises(DataError, match="both sides"):
        audit_tone(plain_model(words=1.0), [], ["a"])
