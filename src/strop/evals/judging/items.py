"""One item as a judge decided it between two models' answers, and what many of them say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from strop.digests import digest_json
from strop.verifiers.judge import Comparison, Outcome, PositionBias, position_bias

if TYPE_CHECKING:
    from strop.statistics import Interval

POINTS: Mapping[str, float] = {"win": 1.0, "loss": 0.0, "tie": 0.5, "undecided": 0.5}


@dataclass(frozen=True, kw_only=True)
class JudgedItem:
    """A task with the judge's decision between the candidate's answer and the baseline's."""

    id: str
    outcome: Outcome | None
    """Seen from the candidate; None where it could not be judged, which is no tie."""
    said: tuple[str, ...] = ()
    """``FIRST``, ``SECOND`` or ``TIE``: with the candidate's answer standing first, then second; empty if not asked."""
    state: str = "graded"
    """Why there is no outcome: ``unparsable``, ``timeout``, ``error``, ``infrastructure``, or ``unasked``."""
    reason: str = ""
    cluster: str = ""
    slices: Mapping[str, str] = field(default_factory=dict)
    num_chars: int = 0
    """Of the candidate's answer."""
    num_chars_baseline: int = 0

    @property
    def points(self) -> float | None:
        """1 for a win, ½ for a tie or what stays undecided, 0 for a loss."""
        return None if self.outcome is None else POINTS[self.outcome]


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """How often the candidate's answer is preferred, with all that it rests on."""

    value: float | None
    """(wins + (ties + undecided) / 2) / judged; None without any."""
    interval: Interval | None
    """95 %: Wilson, or the bootstrap over clusters where items share one; None without any."""
    wins: int
    losses: int
    ties: int
    undecided: int
    ungraded: int
    """Items without an outcome, in no rate."""

    @property
    def num_judged(self) -> int:
        """Items with an outcome."""
        return self.wins + self.losses + self.ties + self.undecided

    def __str__(self) -> str:
        if self.value is None or self.interval is None:
            return f"undefined: none of {self.ungraded} items could be judged"
        ends = f"[{self.interval.low:.3f}, {self.interval.high:.3f}]"
        counts = f"{self.wins} wins, {self.losses} losses, {self.ties} ties, {self.undecided} undecided"
        return f"{self.value:.3f} {ends} ({counts}, {self.ungraded} ungraded)"


def win_rate_of(items: Sequence[JudgedItem]) -> WinRate:
    """The win rate over the items that were judged; a tie, and a preference that follows the place, count ½."""
    from strop.statistics import mean_interval, wilson

    counts = Counter(item.outcome for item in items)
    judged = [(item.points, item.cluster or item.id) for item in items if item.points is not None]
    value: float | None = None
    interval: Interval | None = None
    if judged:
        points, clusters = [point for point, _ in judged if point is not None], [cluster for _, cluster in judged]
        value = sum(points) / len(points)
        num_clusters = len(set(clusters))
        if num_clusters == len(points) or len(set(points)) == 1 or num_clusters < 2:
            interval = wilson(value * num_clusters, num_clusters)
        else:
            interval = mean_interval(points, clusters=clusters)
    return WinRate(
        value=value,
        interval=interval,
        wins=counts["win"],
        losses=counts["loss"],
        ties=counts["tie"],
        undecided=counts["undecided"],
        ungraded=counts[None],
    )


def position_bias_of(items: Sequence[JudgedItem]) -> PositionBias | None:
    """The judge's bias to a place, over what it was asked in both orders; None if it was asked nothing."""
    asked = [Comparison(outcome=item.outcome, said=item.said) for item in items if item.outcome and item.said]
    return position_bias(asked) if asked else None


@dataclass(frozen=True, kw_only=True)
class LengthEffect:
    """How far the preference goes with the longer answer, where the judge was asked: one to whom length is nothing has
    a rate of about ½, unless the better answers are the longer ones."""

    num_decided: int
    """Wins and losses between answers of different lengths."""
    longer_preferred: float
    interval: Interval
    """Wilson, 95 %."""
    win_rate_longer: float | None
    """Of the candidate where its answer is the longer one; None without such items."""
    win_rate_shorter: float | None

    @property
    def balanced_win_rate(self) -> float | None:
        """The mean of the two: the win rate, were the candidate's answer the longer one half of the time."""
        if self.win_rate_longer is None or self.win_rate_shorter is None:
            return None
        return (self.win_rate_longer + self.win_rate_shorter) / 2


def length_effect_of(items: Sequence[JudgedItem]) -> LengthEffect | None:
    """The effect over the items with answers of two lengths; None if no preference was decided among them."""
    from strop.statistics import wilson

    asked = [item for item in items if item.points is not None and item.said]
    unequal = [item for item in asked if item.num_chars != item.num_chars_baseline]
    decided = [item for item in unequal if item.outcome in ("win", "loss")]
    if not decided:
        return None
    longer = sum((item.outcome == "win") == (item.num_chars > item.num_chars_baseline) for item in decided)
    sides: dict[bool, list[float]] = {True: [], False: []}
    for item in unequal:
        sides[item.num_chars > item.num_chars_baseline].append(item.points or 0.0)
    rates = {side: sum(points) / len(points) if points else None for side, points in sides.items()}
    return LengthEffect(
        num_decided=len(decided),
        longer_preferred=longer / len(decided),
        interval=wilson(longer, len(decided)),
        win_rate_longer=rates[True],
        win_rate_shorter=rates[False],
    )


def preference_p_value(items: Sequence[JudgedItem]) -> float:
    """The one-sided p of "the baseline is not preferred": exact sign test, or sign flips of whole clusters.

    P[X ≥ losses], X ~ Binomial(wins + losses, ½); ties and what stays undecided say nothing of the direction.
    """
    from strop.evals.gating.regression import regression_p_value

    judged = [(0.5 - points, item.cluster or item.id) for item in items if (points := item.points) is not None]
    return regression_p_value([worse for worse, _ in judged], [cluster for _, cluster in judged])[0] if judged else 1.0


def items_digest(items: Sequence[JudgedItem]) -> str:
    """Identity of what was decided, and of all that a number is computed from."""
    return digest_json([{**asdict(item), "said": list(item.said), "slices": dict(item.slices)} for item in items])


def item_of(row: Mapping[str, Any]) -> JudgedItem:
    """The item that a row of JSON says."""
    return JudgedItem(**{**row, "said": tuple(row["said"])})
