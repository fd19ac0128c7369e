"""What a session says, against counts and formulas worked by hand."""

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelling import ASPECTS, judge_as, results, seat_of, two
from strop.errors import MismatchError
from strop.evals.people import Plan, Session, analyse, rate_models, tally
from strop.evals.people.effects import clustered_ratings
from strop.evals.people.seats import Place
from strop.evals.people.tables import people_tables
from strop.report import to_markdown
from strop.statistics import Comparison, bradley_terry


def make(folder: Path, num_items: int, **plan: Any) -> Session:
    candidate, baseline = two(num_items)
    return Session.create(folder, candidate, baseline, plan=Plan(num_pairs=num_items, **plan))


def number(place: Place) -> int:
    return int(place.pair.item[1:])


@pytest.mark.capability("PR-03")
def test_eight_votes_of_ten_are_a_probability_of_four_fifths_with_wilsons_interval() -> None:
    found = tally(["candidate"] * 8 + ["baseline"] * 2)
    assert found.share == pytest.approx(0.8)
    assert (round(found.interval.low, 2), round(found.interval.high, 2)) == (0.49, 0.94)
    assert tally(["candidate"] * 7 + ["tie"] * 2 + ["baseline"]).share == pytest.approx(0.8), "two ties are one win"
    assert tally(["candidate", "baseline"]).vote == "tie"
    with pytest.raises(ValueError, match="nobody voted"):
        tally([])


@pytest.mark.capability("PR-03")
def test_ten_annotators_of_a_session_are_put_together_pair_by_pair(tmp_path: Path) -> None:
    session = make(tmp_path, 4, repeat=0, attention=0)
    for voter in range(10):
        judge_as(session, f"voter {voter}", lambda place, v=voter: "candidate" if v < 8 else "baseline")  # type: ignore[misc]
    report = analyse(session)
    assert [(one.candidate, one.ties, one.baseline) for one in report.tallies.values()] == [(8, 0, 2)] * 4
    assert (report.overall.wins, report.overall.ties, report.overall.losses) == (4, 0, 0)
    assert report.to_json()["tallies"]["0"]["share"] == pytest.approx(0.8)


@pytest.mark.capability("EV-07", "EV-25")
def test_the_win_rate_counts_ties_half_and_has_wilsons_interval(tmp_path: Path) -> None:
    """50 pairs: 30 wins, 10 ties, 10 losses: (30 + 5) / 50 = 0.7; Wilson at 35 of 50: 0.5625 to 0.8090."""
    session = make(tmp_path, 50, repeat=0, attention=0)
    judge_as(session, "ann", lambda p: "candidate" if number(p) < 30 else "tie" if number(p) < 40 else "baseline")
    report = analyse(session)
    assert (report.overall.wins, report.overall.ties, report.overall.losses) == (30, 10, 10)
    assert report.overall.value == pytest.approx(0.7)
    assert (report.overall.interval.low, report.overall.interval.high) == pytest.approx((0.5625, 0.8090), abs=5e-4)
    # Even items are slice a: of 0..29 15 wins, of 30..39 5 ties, of 40..49 5 losses.
    assert (report.slices["kind=a"].wins, report.slices["kind=a"].ties, report.slices["kind=a"].losses) == (15, 5, 5)


def test_identical_answers_are_ties_and_what_cannot_be_judged_is_no_vote(tmp_path: Path) -> None:
    candidate = results("c", [f"c{i}" for i in range(8)] + ["same", "same"])
    baseline = results("b", [f"b{i}" for i in range(8)] + ["same", "same"])
    session = Session.create(tmp_path, candidate, baseline, plan=Plan(num_pairs=10, repeat=0, attention=0))
    judge_as(session, "ann", lambda p: "cannot" if number(p) < 3 else "candidate")
    report = analyse(session)
    assert (report.overall.wins, report.overall.ties, report.overall.losses) == (5, 2, 0)
    assert (report.num_pairs, report.num_identical, report.num_unjudged) == (10, 2, 3)
    assert report.annotators["ann"].num_cannot == 3
    assert report.evidence().num_judged == 5, "nobody was shown the identical ones"


def test_an_inattentive_annotator_counts_nowhere_and_is_named(tmp_path: Path) -> None:
    session = make(tmp_path, 40, repeat=0, attention=0.1)

    def attentive(place: Place) -> str:
        return place.pair.expected or "candidate"

    judge_as(session, "ann", attentive)
    judge_as(session, "bob", lambda place: "tie")
    report = analyse(session)
    assert report.excluded == ("bob",)
    assert (report.annotators["bob"].attention.missed, report.annotators["bob"].attention.shown) == (4, 4)
    assert report.overall.wins == 40
    assert analyse(session, max_missed=1.0).overall.wins == 40, "one for, one tie: 3/4 of the points"
    assert analyse(session, max_missed=1.0).between["ann", "bob"].observed == 0


@pytest.mark.capability("PR-04")
def test_a_judge_who_goes_by_the_seat_is_seen_in_position_and_repeats(tmp_path: Path) -> None:
    session = make(tmp_path, 200, repeat=0.2, attention=0)
    chance = random.Random(3)
    judge_as(session, "fair", lambda p: "candidate" if chance.random() < 0.5 else "baseline")

    def by_seat(place: Place) -> str:
        wins_left = chance.random() < 0.85
        return "candidate" if wins_left == place.candidate_is_left else "baseline"

    judge_as(session, "seat", by_seat)
    report = analyse(session)
    fair, seat = report.annotators["fair"], report.annotators["seat"]
    assert fair.left_share.interval is not None
    assert not fair.left_share.is_shown
    assert seat.left_share.is_shown
    assert seat.left_share.value == pytest.approx(0.85, abs=0.08)
    assert seat.consistency.num_repeats == 40
    assert seat.consistency.same_seat > 25
    assert report.effects["position"].is_shown
    # On average over both annotators the left seat wins with 0.675: a logit of 0.73.
    assert report.effects["position"].value == pytest.approx(math.log(0.675 / 0.325), abs=0.3)
    assert not report.effects["quality"].is_shown


@pytest.mark.capability("PR-04")
def test_a_taste_for_length_is_told_from_quality(tmp_path: Path) -> None:
    """Candidates twice or half as long; people double the odds with each doubling, models being equal."""
    chance = random.Random(5)
    lengths = [chance.choice((40, 160)) for _ in range(400)]
    candidate = results("c", ["c" * (n - 1) for n in lengths])
    baseline = results("b", ["b" * 79 for _ in lengths])
    session = Session.create(tmp_path, candidate, baseline, plan=Plan(num_pairs=400, repeat=0, attention=0))

    def longer(place: Place) -> str:
        odds = 2.0 ** (1 if len(place.pair.candidate) > 100 else -1)
        return "candidate" if chance.random() < odds / (1 + odds) else "baseline"

    judge_as(session, "ann", longer)
    effects = analyse(session).effects
    assert effects["length"].is_shown
    assert effects["length"].interval is not None
    assert effects["length"].interval.low < math.log(2) < effects["length"].interval.high
    assert effects["longer share"].value == pytest.approx(2 / 3, abs=0.07)
    assert not effects["quality"].is_shown
    assert not effects["position"].is_shown


@pytest.mark.capability("PR-04")
def test_an_annotator_who_favours_the_candidate_differs_from_the_others_on_the_same_pairs(tmp_path: Path) -> None:
    session = make(tmp_path, 100, repeat=0, attention=0)
    for name in ("ann", "bea"):
        judge_as(session, name, lambda p: "candidate" if number(p) % 2 else "baseline")
    judge_as(session, "fan", lambda p: "candidate" if number(p) % 2 or number(p) < 60 else "baseline")
    ann, bea, fan = analyse(session).annotator_effects
    # The fan gives 30 pairs a point more; each of the others then half a point less than the mean of the two.
    assert fan.value == pytest.approx(0.30)
    assert ann.value == bea.value == pytest.approx(-0.15)
    assert fan.is_shown
    assert fan.interval is not None
    assert fan.interval.low == pytest.approx(0.30 - 1.96 * math.sqrt(0.3 * 0.7 / 100), abs=0.03)


def test_agreement_of_two_annotators_is_cohens_kappa_by_hand(tmp_path: Path) -> None:
    """Of 40 pairs 20 + 10 alike, 10 not: o = 0.75; margins 30/10 and 20/20: e = 0.5; kappa = 0.5."""
    session = make(tmp_path, 40, repeat=0, attention=0)
    judge_as(session, "ann", lambda p: "candidate" if number(p) < 30 else "baseline")
    judge_as(session, "bea", lambda p: "candidate" if number(p) < 20 else "baseline")
    report = analyse(session)
    found = report.between["ann", "bea"]
    assert (found.observed, found.expected, found.kappa) == pytest.approx((0.75, 0.5, 0.5))
    # Fleiss: mean agreement 0.75, shares 50/80 and 30/80: e = 0.53125, kappa = 0.21875 / 0.46875.
    assert report.fleiss == pytest.approx(0.21875 / 0.46875)
    assert report.num_fleiss == 40


@pytest.mark.capability("EV-59", "EV-60", "EV-61")
def test_each_aspect_has_a_win_rate_of_its_own_over_the_pairs_it_applies_to(tmp_path: Path) -> None:
    session = make(tmp_path, 20, repeat=0, attention=0)
    for place in session.places("ann"):
        i = number(place)
        told = ("candidate" if i < 15 else "baseline", "tie", "baseline" if i < 4 else "none")
        aspects = {name: seat_of(place, verdict) for name, verdict in zip(ASPECTS, told, strict=True)}
        session.judge("ann", place, "tie", aspects)
    found = analyse(session).aspects
    assert [(one.wins, one.ties, one.losses) for one in found.values()] == [(15, 0, 5), (0, 20, 0), (0, 0, 4)]
    assert [one.value for one in found.values()] == [0.75, 0.5, 0.0]


def test_clustered_intervals_agree_with_leaving_one_prompt_out_at_a_time() -> None:
    """The jackknife over prompts is an independent estimate of the same spread; three votes a prompt, alike."""
    chance = random.Random(11)
    comparisons: list[Comparison] = []
    prompts: list[int] = []
    for prompt in range(80):
        leaning = chance.gauss(0.4, 2.0)
        for _ in range(3):
            seat = chance.choice((-1.0, 1.0))
            won = chance.random() < 1 / (1 + math.exp(-leaning - 0.3 * seat))
            comparisons.append(Comparison("a", "b", float(won), (seat,)))
            prompts.append(prompt)
    found = clustered_ratings(comparisons, prompts)

    def estimates(left_out: int) -> tuple[float, float]:
        fitted = bradley_terry([c for c, prompt in zip(comparisons, prompts) if prompt != left_out])
        return fitted.difference("a", "b")[0], fitted.coefficients[0]

    spread = np.array([estimates(prompt) for prompt in range(80)])
    jackknife = np.sqrt(79 / 80 * ((spread - spread.mean(axis=0)) ** 2).sum(axis=0))
    plain = bradley_terry(comparisons).difference("a", "b")[1]
    for one, expected in zip((found.difference("a", "b"), found.coefficient(0)), jackknife):
        assert (one[1].high - one[0]) / 1.96 == pytest.approx(float(expected), rel=0.06)
    clustered = found.difference("a", "b")[1]
    assert clustered.high - clustered.low > 1.2 * (plain.high - plain.low), "votes on one prompt go together"


def test_sessions_of_several_models_are_joined_to_one_rating(tmp_path: Path) -> None:
    """b beats a with odds of 3, c beats b with odds of 2: log 3 and log 2, so c stands log 6 above a."""
    texts = {name: [f"{name} {i:03}" for i in range(240)] for name in "abc"}
    joined = []
    for better, worse, share in (("b", "a", 3 / 4), ("c", "b", 2 / 3)):
        made = [results(name, texts[name]) for name in (better, worse)]
        session = Session.create(tmp_path / better, *made, plan=Plan(num_pairs=240, repeat=0, attention=0))
        seats: Counter[bool] = Counter()

        def decide(place: Place, share: float = share, seats: Counter[bool] = seats) -> str:
            seats[place.candidate_is_left] += 1  # of every twelve pairs with the same seats, the same share is won
            return "candidate" if seats[place.candidate_is_left] % 12 < 12 * share else "baseline"

        judge_as(session, "ann", decide)
        joined.append(session)
    ratings = rate_models(joined)
    (low, one), (high, other), (both, far) = (
        ratings.difference(*pair) for pair in (("b", "a"), ("c", "b"), ("c", "a"))
    )
    assert (low, high, both) == pytest.approx((math.log(3), math.log(2), math.log(6)), abs=0.1)
    assert far.high - far.low > max(one.high - one.low, other.high - other.low)
    with pytest.raises(MismatchError, match="different things"):
        rate_models([joined[0], _other_rubric(tmp_path)])
    effects = analyse(joined[0]).effects
    assert (effects["length"].value, effects["length"].why) == (None, "all answers are equally long")
    assert effects["quality"].value == pytest.approx(math.log(3), abs=0.1)


def _other_rubric(folder: Path) -> Session:
    from strop.evals.people import Rubric

    return Session.create(folder / "other", *two(4), rubric=Rubric(name="n", instructions="", aspects=()))


def test_the_report_is_json_and_tables(tmp_path: Path) -> None:
    session = make(tmp_path, 30)
    empty = analyse(session)
    assert empty.overall.value is None
    assert [shown.title for shown in people_tables(empty)][1:] == ["annotators", "what swayed them"]
    judge_as(session, "ann", lambda p: p.pair.expected or ("candidate" if number(p) % 3 else "tie"))
    report = analyse(session)
    whole = json.loads(json.dumps(report.to_json()))
    assert whole["overall"]["value"] == report.overall.value
    assert whole["session"] == session.digest
    shown = "\n".join(map(to_markdown, people_tables(report)))
    assert "win rate | 83.3 %" in shown
    assert "attention checks missed: excluded" in shown


@pytest.mark.capability("PR-04")
def test_a_tie_is_half_a_point_for_each_seat_and_each_model(tmp_path: Path) -> None:
    session = make(tmp_path, 20, repeat=0, attention=0)
    judge_as(session, "ann", lambda place: "tie")
    judge_as(session, "bea", lambda place: "candidate")
    report = analyse(session)
    assert report.annotators["ann"].left_share.value == 0.5
    assert [one.value for one in report.annotator_effects] == [-0.5, 0.5]
    assert report.overall.wins == 20, "three quarters of the points of each pair"


def test_an_attention_check_that_could_not_be_judged_was_missed(tmp_path: Path) -> None:
    session = make(tmp_path, 40, repeat=0, attention=0.1)
    judge_as(session, "ann", lambda place: "cannot" if place.pair.expected else "candidate")
    assert analyse(session).excluded == ("ann",)


def test_who_ties_a_repeat_agrees_with_themselves_and_went_by_no_seat(tmp_path: Path) -> None:
    session = make(tmp_path, 20, repeat=0.2, attention=0)
    judge_as(session, "ann", lambda place: "tie")
    found = analyse(session).annotators["ann"].consistency
    assert (found.num_repeats, found.num_same, found.same_seat) == (4, 4, 0)
