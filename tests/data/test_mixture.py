"""A mixture keeps its shares in trained tokens, goes on from any cursor, and takes new shares where it stands."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest

from strop.data.mixture import Mixture, realised
from strop.errors import RecipeError

SIZES = (50, 200)
LENGTHS = np.random.default_rng(0)
WEIGHTS = [*LENGTHS.integers(5, 60, size=50).tolist(), *LENGTHS.integers(1, 20, size=200).tolist()]


def take(mixture: Mixture, count: int, start: Any = None, *, seed: int = 0) -> list[tuple[list[int], dict[str, Any]]]:
    return list(islice(mixture.steps(WEIGHTS, 16, seed=seed, start=start), count))


def tokens_of(steps: list[tuple[list[int], dict[str, Any]]]) -> tuple[int, int]:
    rows = [row for rows, _ in steps for row in rows]
    return sum(WEIGHTS[row] for row in rows if row < 50), sum(WEIGHTS[row] for row in rows if row >= 50)


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.2, 0.8), (0.5, 0.5), (0.95, 0.05)])
@pytest.mark.parametrize("num_steps", [20, 200])
def test_the_realised_share_of_tokens_is_the_one_asked_for(shares: tuple[float, float], num_steps: int) -> None:
    first, second = tokens_of(take(Mixture(sizes=SIZES, shares=shares), num_steps))
    assert first / (first + second) == pytest.approx(shares[0], abs=0.02)


def test_no_prefix_is_off_by_more_than_the_longest_row() -> None:
    steps = take(Mixture(sizes=SIZES, shares=(0.8, 0.2)), 100)
    for _, cursor in steps:
        total = sum(cursor["tokens"])
        assert abs(cursor["tokens"][0] - 0.8 * total) <= max(WEIGHTS)
        assert realised(cursor)["share_0"] == pytest.approx(cursor["tokens"][0] / total)


def test_of_many_sources_none_runs_ahead_and_the_last_waits_for_one_row_of_each_other() -> None:
    mixture = Mixture(sizes=(9,) * 6, shares=(0.1, 0.1, 0.1, 0.1, 0.1, 0.5))
    behind = []
    for _, cursor in islice(mixture.steps([10] * 54, 1, seed=0), 200):
        total = sum(cursor["tokens"])
        off = [tokens - share * total for tokens, share in zip(cursor["tokens"], mixture.shares, strict=True)]
        assert max(off) <= 10
        assert min(off) >= -5 * 10
        behind.append(min(off))
    assert min(behind) == pytest.approx(-25), "after a row of each of the five, half of fifty is owed"


def test_each_source_is_met_whole_before_any_of_its_rows_comes_again() -> None:
    rows = [row for rows, _ in take(Mixture(sizes=SIZES, shares=(0.8, 0.2)), 40) for row in rows if row < 50]
    for start in range(0, len(rows) // 50 * 50, 50):
        assert sorted(rows[start : start + 50]) == list(range(50))
    assert rows[:50] != rows[50:100]


@pytest.mark.parametrize("stop", [1, 7, 39])
def test_it_goes_on_from_a_cursor_as_if_it_had_never_stopped(stop: int) -> None:
    mixture = Mixture(sizes=SIZES, shares=(0.8, 0.2))
    whole = take(mixture, 40)
    assert take(mixture, 40 - stop, start=whole[stop - 1][1]) == whole[stop:]


def test_another_seed_is_another_order_in_the_same_shares() -> None:
    mixture = Mixture(sizes=SIZES, shares=(0.8, 0.2))
    assert take(mixture, 3)[0][0] != take(mixture, 3, seed=1)[0][0]


def test_new_shares_hold_from_where_they_are_given_and_repay_nothing() -> None:
    mixture = Mixture(sizes=SIZES, shares=(0.8, 0.2))
    before = take(mixture, 30)
    lowered = mixture.lowered(0, 0.5)
    assert lowered.shares == pytest.approx((0.4, 0.6))
    after = take(lowered, 30, start=before[-1][1])
    first, second = tokens_of(after)
    assert first / (first + second) == pytest.approx(0.4, abs=0.02)
    met = [row for rows, _ in [*before, *after] for row in rows if row >= 50]
    assert len(set(met[:200])) == 200, "the other source goes on in its pass"


def test_of_three_the_two_others_grow_in_proportion() -> None:
    lowered = Mixture(sizes=(1, 1, 1), shares=(0.5, 0.3, 0.2)).lowered(0, 0.5)
    assert lowered.shares == pytest.approx((0.25, 0.45, 0.3))


@pytest.mark.parametrize(
    ("sizes", "shares", "said"),
    [
        ((3, 4), (0.5,), "1 shares for 2"),
        ((3,), (1.0,), "1 source"),
        ((3, 4), (0.5, 0.6), "1.1"),
        ((3, 4), (1, 0), "no"),
        ((3, 4), (0.5, math.nan), "no shares"),
        ((3, 4), (math.inf, -math.inf), "no shares"),
    ],
)
def test_shares_that_are_none_are_refused(sizes: Any, shares: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Mixture(sizes=sizes, shares=shares)
