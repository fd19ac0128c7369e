"""Judges that are fair, that see places or lengths, that drift or lie: what each may say of a candidate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binomtest

from judged_pairs import (
    ANCHORS,
    BAD,
    GOOD,
    Mind,
    fair,
    first_of_all,
    judge_of,
    judged,
    liar,
    longer,
    outcomes,
    results,
    the_test,
)
from strop.evals import GateConfig, gate
from strop.evals.judging import (
    JudgeEvidence,
    judge_suite,
)
from strop.verifiers.anchors import Anchor, measure_anchors
from strop.verifiers.judge import PairwiseJudge

# --------------------------------------------------------------------------------------------------------- a fair judge


@pytest.mark.capability("EV-58")
def test_wins_ties_and_losses_are_counted_per_item_in_both_orders_with_their_interval() -> None:
    """By hand: 12 wins, 6 losses, 2 ties of 20: (12 + 1) / 20 = 0.65, and Wilson's interval of 13 of 20."""
    candidate = [GOOD] * 12 + [BAD] * 6 + [GOOD + "!", BAD]
    baseline = [BAD] * 12 + [GOOD] * 6 + [GOOD, BAD]
    result = judged(candidate, baseline, fair)
    rate = result.win_rate()
    assert (rate.wins, rate.losses, rate.ties, rate.undecided, rate.ungraded) == (12, 6, 2, 0, 0)
    assert rate.value == pytest.approx(0.65)
    z2 = 1.959964**2
    half = 1.959964 * (20 * 0.65 * 0.35 + z2 / 4) ** 0.5
    assert rate.interval is not None
    assert rate.interval.low == pytest.approx((13 + z2 / 2 - half) / (20 + z2), abs=1e-6)
    assert rate.interval.high == pytest.approx((13 + z2 / 2 + half) / (20 + z2), abs=1e-6)
    assert result.win_rate("kind=even").num_judged == 10
    assert result.slice_names() == ["kind=even", "kind=odd"]
    assert result.items[0].said == ("FIRST", "SECOND")
    assert (result.items[19].said, result.items[19].reason) == ((), "the answers are the same")


@pytest.mark.capability("EV-58")
def test_a_judge_without_position_bias_shows_none_and_one_that_sees_places_only_decides_nothing() -> None:
    candidate, baseline = [GOOD] * 10 + [BAD] * 30, [BAD] * 10 + [GOOD] * 30
    honest = judged(candidate, baseline, fair).position_bias
    assert honest is not None
    assert (honest.num_compared, honest.inconsistent_rate, honest.first_rate) == (40, 0.0, 0.5)
    biased = judged(candidate, baseline, first_of_all)
    bias = biased.position_bias
    assert bias is not None
    assert (bias.inconsistent_rate, bias.first_rate) == (1.0, 1.0)
    assert biased.win_rate().undecided == 40
    evidence = JudgeEvidence(result=biased)
    assert outcomes(biased) == ["INSUFFICIENT"]
    assert "the two orders contradict each other in 100% of 40 comparisons" in evidence.findings()[0].reason  # type: ignore[union-attr]


@pytest.mark.capability("EV-58")
def test_a_healthy_judge_that_prefers_the_baseline_is_a_test_that_blocks_and_one_that_does_not_is_none() -> None:
    """30 losses and 10 wins: P[X >= 30], X ~ Binomial(40, 1/2); scipy says it. The other way round nothing is lost."""
    worse = judged([GOOD] * 10 + [BAD] * 30, [BAD] * 10 + [GOOD] * 30, fair)
    test = the_test(worse)
    assert test.p_value == pytest.approx(binomtest(30, 40, 0.5, alternative="greater").pvalue)
    assert "win rate 0.250" in test.told
    assert "10 wins, 30 losses" in test.told
    assert "beside accuracy 1.000 → 1.000" in test.told
    assert outcomes(worse) == ["PASS"]
    better = judged([BAD] * 10 + [GOOD] * 30, [GOOD] * 10 + [BAD] * 30, fair)
    assert the_test(better).p_value > 0.99


@pytest.mark.capability("EV-58")
def test_the_gate_blocks_on_a_healthy_judges_regression_and_names_the_lost_items() -> None:
    mine, other = results([BAD] * 100 + [GOOD] * 20, model="new"), results([GOOD] * 120, model="old")
    result = judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)
    sides = {"finance": mine}, {"finance": other}
    decision = gate(*sides, GateConfig(), [JudgeEvidence(result=result)])
    assert decision.outcome == "BLOCK"
    blocked = [check for check in decision.checks if check.outcome == "BLOCK"]
    assert [check.name for check in blocked] == ["judge of finance: the baseline is preferred"]
    assert blocked[0].numbers["items"][:2] == ["i000", "i001"]
    assert gate(*sides, GateConfig()).outcome == "PASS"  # accuracy alone sees nothing


def test_a_win_rate_without_accuracy_beside_it_decides_nothing() -> None:
    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")
    bare = [
        replace(side, items=tuple(replace(i, samples=(replace(i.samples[0], measures={}),)) for i in side.items))
        for side in (mine, other)
    ]
    result = judge_suite(*bare, judge_of(fair), anchors=ANCHORS)
    assert outcomes(result) == ["INSUFFICIENT"]
    assert "a win rate is not read alone" in JudgeEvidence(result=result).problems[0]


def test_items_of_one_cluster_are_one_piece_of_evidence() -> None:
    """40 losses in 4 clusters: four signs, all one way, have a one-sided chance of 1/16."""
    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")
    mine = replace(mine, items=tuple(replace(one, cluster=f"c{n % 4}") for n, one in enumerate(mine.items)))
    assert the_test(judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)).p_value == pytest.approx(1 / 16)


# ---------------------------------------------------------------------------------------------- judges not borne out


@pytest.mark.capability("EV-58")
def test_a_judge_that_likes_length_is_shown_to_and_people_do_not_bear_it_out() -> None:
    """The longer answer is the bad one in the anchors: it agrees with people on none of the 40."""
    candidate = ["good"] * 20 + ["bad, with many words"] * 20
    baseline = ["bad, with many words"] * 20 + ["good"] * 20
    result = judged(candidate, baseline, longer)
    effect = result.length_effect
    assert effect is not None
    assert (effect.num_decided, effect.longer_preferred) == (40, 1.0)
    assert (effect.win_rate_longer, effect.win_rate_shorter, effect.balanced_win_rate) == (1.0, 0.0, 0.5)
    assert effect.interval.low == pytest.approx(40 / (40 + 1.959964**2), abs=1e-6)  # Wilson of 40 of 40
    assert outcomes(result) == ["INSUFFICIENT"]
    assert "agrees with people on 0%" in JudgeEvidence(result=result).problems[0]
    honest = judged(candidate, baseline, fair).length_effect
    assert honest is not None
    assert honest.longer_preferred == 0.0


@pytest.mark.capability("EV-46")
@pytest.mark.parametrize("says", [liar, first_of_all])
@pytest.mark.parametrize("candidate", [GOOD, BAD])
def test_a_judge_that_people_do_not_bear_out_neither_blocks_nor_passes(
    says: Callable[[str, str], str], candidate: str
) -> None:
    other = BAD if candidate == GOOD else GOOD
    result = judged([candidate] * 120, [other] * 120, says, dimensions=("helpfulness", "truthfulness"))
    findings = JudgeEvidence(result=result).findings()
    assert [(one.name, one.outcome) for one in findings] == [  # type: ignore[union-attr]
        ("dimension helpfulness: judge of finance", "INSUFFICIENT"),
        ("dimension truthfulness: judge of finance", "INSUFFICIENT"),
    ]
    mine, before = results([candidate] * 120, model="new"), results([other] * 120, model="old")
    decision = gate({"finance": mine}, {"finance": before}, GateConfig(), [JudgeEvidence(result=result)])
    assert (decision.outcome, decision.exit_code) == ("INSUFFICIENT", 3)


@pytest.mark.capability("EV-46")
def test_a_judge_that_drifts_under_the_same_name_decides_nothing_though_its_agreement_is_still_allowed() -> None:
    """After people examined it, it turns 8 of 40 anchors round: agreement 80 % as asked for, p = 1/2^8."""
    mind = Mind(fair)
    judge = judge_of(mind)
    before = measure_anchors(judge, ANCHORS)
    assert before.agreement == 1.0
    turned = {f"good {n}" for n in range(8)}

    def drifted(first: str, second: str) -> str:
        return liar(first, second) if {first, second} & turned else fair(first, second)

    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")
    healthy = judge_suite(mine, other, judge, anchors=ANCHORS, before=before)
    assert outcomes(healthy) == ["PASS"]
    mind.says = drifted
    result = judge_suite(mine, other, judge, anchors=ANCHORS, before=before)
    assert result.judge == before.judge
    assert outcomes(result) == ["INSUFFICIENT"]
    (problem,) = JudgeEvidence(result=result).problems
    assert problem == (
        "the judge has drifted: its agreement with people fell from 100% to 80% of 40 anchors (p = 0.0039), "
        "under the same name"
    )


@pytest.mark.capability("EV-46")
def test_another_judge_another_criterion_other_labels_and_too_few_anchors_decide_nothing() -> None:
    judge = judge_of(fair)
    before = measure_anchors(judge, ANCHORS)
    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")

    def problems(judge: PairwiseJudge, anchors: Sequence[Anchor], **more: Any) -> str:
        found = judge_suite(mine, other, judge, anchors=anchors, before=before, **more)
        assert outcomes(found) == ["INSUFFICIENT"]
        return " | ".join(JudgeEvidence(result=found).problems)

    assert "people examined another judge or rubric" in problems(replace(judge, criterion="it is polite"), ANCHORS)
    renamed = replace(judge, judge=replace(judge.judge, model="another"))
    assert "people examined another judge or rubric" in problems(renamed, ANCHORS)
    assert "the anchors are not those that it was examined on" in problems(judge, ANCHORS[:36])
    assert "29 anchors with people's labels; at least 30 are asked for" in problems(judge, ANCHORS[:29])
    assert "0 anchors" in problems(judge, ())
    one_label = [one for one in ANCHORS if one.label] * 2
    assert "40 anchors of one label only" in problems(judge, one_label)


def test_on_anchors_of_nearly_one_label_agreement_is_not_enough() -> None:
    """A judge that always prefers the other answer agrees on 36 of 40, and its kappa is 0."""
    bad = [one for one in ANCHORS if not one.label]
    anchors = [*bad, *(replace(one, task=replace(one.task, id=f"{one.task.id}x")) for one in bad[:16])]
    anchors += [one for one in ANCHORS if one.label][:4]
    better = {one.text for one in anchors if one.label}

    def never(first: str, second: str) -> str:
        return liar(first, second) if {first, second} & better else fair(first, second)

    result = judged([GOOD] * 40, [BAD] * 40, never, anchors=anchors)
    assert "agrees with people on 90%" in JudgeEvidence(result=result).problems[0]
    assert "hardly more than chance" in JudgeEvidence(result=result).problems[0]


@pytest.mark.capability("EV-58")
@pytest.mark.parametrize("neither", ["TIE", "FIRST"])
def test_who_prefers_neither_answer_where_people_preferred_one_does_not_agree_with_them(neither: str) -> None:
    """Of 40 anchors it ties, or contradicts itself on, 16: it bears out people's order on 24, which is 60 %."""

    def shy(first: str, second: str) -> str:
        return neither if int(re.findall(r"\d+", first)[0]) < 16 else fair(first, second)

    report = measure_anchors(judge_of(shy), ANCHORS)
    assert (report.agreement, report.num_undecided) == (0.6, 16)
    result = judged([GOOD] * 40, [BAD] * 40, lambda a, b: shy(a, b) if {a, b} - {GOOD, BAD} else fair(a, b))
    assert outcomes(result) == ["INSUFFICIENT"]
    assert "agrees with people on 60%" in JudgeEvidence(result=result).problems[0]


def test_what_the_judge_was_never_asked_says_nothing_of_its_taste_for_length() -> None:
    """Twenty empty answers lose unasked to longer ones; the judge itself, asked ten times, prefers the shorter."""
    result = judged([""] * 20 + ["good"] * 10, [BAD] * 20 + ["bad, with many words"] * 10, fair)
    effect = result.length_effect
    assert effect is not None
    assert (effect.num_decided, effect.longer_preferred) == (10, 0.0)
    assert (effect.win_rate_longer, effect.win_rate_shorter) == (None, 1.0)
    assert judged([""] * 3, [GOOD] * 3, fair).length_effect is None
