"""Bradley-Terry: closed forms, scipy's optimiser, relations, and where ratings do not exist."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from strop.statistics import Comparison, Interval, Ratings, bradley_terry


def games(first: str, second: str, wins: int, losses: int, ties: int = 0, *x: float) -> list[Comparison]:
    scores = [1.0] * wins + [0.0] * losses + [0.5] * ties
    return [Comparison(first, second, score, x) for score in scores]


ROUND = [*games("a", "b", 7, 3), *games("b", "c", 6, 4, 2), *games("c", "a", 2, 9, 1)]


def test_two_players_are_their_log_odds_apart() -> None:
    # 30 wins, 10 losses: ln 3 apart, standard error √(1/30 + 1/10).
    found = bradley_terry(games("a", "b", 30, 10))
    assert found.values == pytest.approx((math.log(3) / 2, -math.log(3) / 2))
    difference, interval = found.difference("a", "b")
    half = 1.9599640 * math.sqrt(1 / 30 + 1 / 10)
    assert difference == pytest.approx(math.log(3))
    assert (interval.low, interval.high) == pytest.approx((difference - half, difference + half))
    value, own = found.rating("a")
    assert (value, own.low, own.high) == pytest.approx((difference / 2, interval.low / 2, interval.high / 2))
    assert (found.names, found.coefficients, found.confidence) == (("a", "b"), (), 0.95)


def test_a_tie_is_half_a_win_for_each() -> None:
    found = bradley_terry(games("a", "b", 4, 2, 4))
    assert found.difference("a", "b")[0] == pytest.approx(math.log(6 / 4))
    drawn = bradley_terry(games("a", "b", 0, 0, 4))
    assert drawn.values == pytest.approx((0.0, 0.0))


def test_ratings_maximise_the_likelihood() -> None:
    def loss(theta: np.ndarray) -> float:
        strength = dict(zip("abc", [*theta, -theta.sum()]))
        odds = [(c.score, strength[c.first] - strength[c.second]) for c in ROUND]
        return sum(s * math.log1p(math.exp(-o)) + (1 - s) * math.log1p(math.exp(o)) for s, o in odds)

    best = optimize.minimize(loss, np.zeros(2), tol=1e-12)
    found = bradley_terry(ROUND)
    assert found.values[:2] == pytest.approx(best.x, abs=1e-5)
    assert sum(found.values) == pytest.approx(0, abs=1e-12)
    assert {type(x) for x in (*found.values, found.rating("a")[0], found.rating("a")[1].low)} == {float}
    # The inverse Hessian of the free pair, by finite differences, is their covariance.
    hessian, h = np.zeros((2, 2)), 1e-4
    for i in range(2):
        for j in range(2):
            one, other = np.eye(2)[i] * h, np.eye(2)[j] * h
            corners = [loss(best.x + u * one + v * other) * u * v for u in (1, -1) for v in (1, -1)]
            hessian[i, j] = sum(corners) / (4 * h * h)
    assert found.covariance[:2, :2] == pytest.approx(np.linalg.inv(hessian), rel=1e-3)


def test_the_expected_score_of_each_is_the_one_it_has() -> None:
    # The likelihood equations: Σ over its games of σ(difference) equals its points.
    found = bradley_terry(ROUND)
    strength = dict(zip(found.names, found.values))
    for name in "abc":
        points = expected = 0.0
        for game in ROUND:
            if name in (game.first, game.second):
                other = game.second if name == game.first else game.first
                points += game.score if name == game.first else 1 - game.score
                expected += 1 / (1 + math.exp(strength[other] - strength[name]))
        assert expected == pytest.approx(points)


def test_naming_the_other_first_changes_nothing() -> None:
    turned = [Comparison(g.second, g.first, 1 - g.score) for g in ROUND]
    there, back = bradley_terry(ROUND), bradley_terry(turned)
    for name in "abc":
        assert there.rating(name)[0] == pytest.approx(back.rating(name)[0])
    assert there.difference("a", "c")[0] == pytest.approx(-there.difference("c", "a")[0])


def test_a_judge_who_prefers_the_first_place_is_told_from_the_players() -> None:
    # Equal players; the one shown first wins 3 of 4: log-odds ln 3 for the place, nothing between the players.
    comparisons = [*games("a", "b", 15, 5, 0, 1.0), *games("a", "b", 5, 15, 0, -1.0)]
    found = bradley_terry(comparisons)
    assert found.values == pytest.approx((0.0, 0.0), abs=1e-9)
    value, interval = found.coefficient(0)
    assert value == found.coefficients[0] == pytest.approx(math.log(3))
    # Each half has variance 1/15 + 1/5 of its own log-odds; the place is half their difference.
    half = 1.959964 * math.sqrt(2 * (1 / 15 + 1 / 5)) / 2
    assert (interval.low, interval.high) == pytest.approx((value - half, value + half), abs=1e-6)


def test_two_covariates_are_numbered_in_their_order() -> None:
    generator, truth = np.random.default_rng(0), np.array([1.0, -2.0])
    comparisons = []
    for x in generator.normal(size=(3000, 2)):
        chance = 1 / (1 + math.exp(-(0.6 + x @ truth)))
        comparisons.append(Comparison("a", "b", float(generator.random() < chance), tuple(x)))
    found = bradley_terry(comparisons)
    assert found.coefficients == pytest.approx((1.0, -2.0), abs=0.25)
    assert found.coefficient(1)[1].low < -2 < found.coefficient(1)[1].high
    assert found.difference("a", "b")[0] == pytest.approx(0.6, abs=0.2)


def test_lengths_in_thousands_of_tokens_only_scale_the_coefficient() -> None:
    base = [*games("a", "b", 6, 3, 0, 1.0), *games("a", "b", 4, 5, 0, -1.0), *games("a", "b", 3, 2, 0, 0.5)]
    scaled = [Comparison(c.first, c.second, c.score, (1000 * c.covariates[0],)) for c in base]
    one, other = bradley_terry(base), bradley_terry(scaled)
    assert one.values == pytest.approx(other.values)
    assert one.coefficients[0] == pytest.approx(1000 * other.coefficients[0])


def test_the_interval_is_a_95_percent_one_unless_told() -> None:
    def width(found: Ratings) -> float:
        return found.rating("a")[1].high - found.rating("a")[1].low

    assert width(bradley_terry(ROUND)) == width(bradley_terry(ROUND, 0.95)) > width(bradley_terry(ROUND, 0.8))
    with pytest.raises(ValueError, match="confidence"):
        bradley_terry(ROUND, 1.0)


def test_one_who_never_lost_has_no_finite_rating() -> None:
    with pytest.raises(ValueError, match="leads from 'b' to 'a'"):
        bradley_terry([*games("a", "b", 3, 0), *games("a", "c", 3, 0), *games("b", "c", 1, 1)])
    with pytest.raises(ValueError, match="leads from 'b' to 'a'"):
        bradley_terry(games("b", "a", 0, 3))
    bradley_terry(games("a", "b", 3, 0, 1))  # a tie is a way back


def test_a_long_chain_of_wins_connects() -> None:
    ring = [game for one, other in zip("abcdefgh", "bcdefgha") for game in games(one, other, 1, 0)]
    assert bradley_terry(ring).values == pytest.approx([0.0] * 8, abs=1e-9)
    with pytest.raises(ValueError, match="no chain"):
        bradley_terry(ring[:-1])


def test_two_groups_that_never_met_have_no_common_scale() -> None:
    with pytest.raises(ValueError, match="no chain of wins or ties leads from 'a' to 'c'"):
        bradley_terry([*games("a", "b", 1, 1), *games("c", "d", 1, 1)])


def test_a_covariate_that_follows_the_players_is_refused() -> None:
    # a is always first, so being first cannot be told from being a.
    with pytest.raises(ValueError, match="cannot be told"):
        bradley_terry(games("a", "b", 3, 2, 0, 1.0))
    with pytest.raises(ValueError, match="cannot be told"):
        bradley_terry([*games("a", "b", 3, 2, 0, 1.0, 2.0), *games("a", "b", 2, 2, 0, -1.0, -2.0)])


def test_a_covariate_that_decides_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite maximum"):
        bradley_terry([*games("a", "b", 5, 0, 0, 1.0), *games("a", "b", 0, 5, 0, -1.0)])
    with pytest.raises(ValueError, match="no finite maximum"):
        bradley_terry(
            [*games("a", "b", 5, 0, 0, 100.0), *games("a", "b", 0, 5, 0, -1.0), *games("a", "b", 1, 0, 0, 90.0)]
        )


def test_comparisons_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one comparison"):
        bradley_terry([])
    with pytest.raises(ValueError, match="'a' is compared with itself"):
        bradley_terry([Comparison("a", "a", 1.0)])
    for score in (0.25, 2.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="a score is 1, 1/2 or 0"):
            bradley_terry([Comparison("a", "b", score)])
    for covariates in ((), (1.0, 2.0), (math.nan,), (math.inf,)):
        with pytest.raises(ValueError, match="every comparison has 1 finite covariates"):
            bradley_terry([Comparison("a", "b", 1.0, (1.0,)), Comparison("a", "b", 0.0, covariates)])


def test_who_or_what_was_not_compared_has_no_rating() -> None:
    found = bradley_terry([*games("a", "b", 3, 2, 0, 1.0), *games("a", "b", 2, 2, 0, -1.0)])
    for ask in (lambda: found.rating("z"), lambda: found.difference("a", "z"), lambda: found.difference("z", "a")):
        with pytest.raises(ValueError, match="'z' was never compared; rated are a, b"):
            ask()
    for number in (-1, 1):
        with pytest.raises(ValueError, match=f"there are 1 covariates; none has number {number}"):
            found.coefficient(number)


def test_what_is_compared_with_itself_differs_by_nothing() -> None:
    ratings = bradley_terry([Comparison("a", "b", 1), Comparison("a", "b", 1), Comparison("b", "a", 1)])
    assert ratings.difference("a", "a") == (0.0, Interval(0.0, 0.0))


def test_a_seat_that_loses_has_a_negative_coefficient() -> None:
    # Equal players; whoever sits first wins one of four: the seat is worth ln(1/3).
    found = bradley_terry([*games("a", "b", 5, 15, 0, 1.0), *games("b", "a", 5, 15, 0, 1.0)])
    assert found.coefficient(0)[0] == pytest.approx(math.log(1 / 3))
    assert found.values == pytest.approx((0.0, 0.0), abs=1e-9)
