"""The rule of a regression guard: when a suite's drop is real, and what follows from it. Pure: numbers in, words out.

A guard asks the same items at the stage's start and every so many steps. What is compared are pairs: item by item, the
value now with the value before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from strop.errors import RecipeError
from strop.statistics import NUM_FLIPS, mcnemar, sign_flip

Action = Literal["watch", "stop", "roll_back", "lower_learning_rate", "lower_share"]
"""What a real drop leads to. ``watch`` only writes the curve: for the domain's own suite, beside the general ones."""
Course = Literal["go_on", "restart_here", "roll_back", "stop"]
"""Where training goes after a look: on; from here with other settings; from the last look that held; nowhere."""
Values = Mapping[str, float | None]
"""Item → its value; None where it could not be graded, or where the metric does not apply to the answer."""
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a drop triggers, and what is done then."""

    metric: str
    max_drop: float
    """How far the mean over the items may fall, in the metric's own unit: 0.1 of an accuracy is 10 points."""
    alpha: float = 0.01
    """A drop counts only if chance alone would show as much less often than this, at one look."""
    action: Action = "roll_back"
    factor: float = 0.5
    """What the learning rate, or the domain's share, is multiplied by."""
    max_times: int = 3
    """How often the action may be taken; the next time the stage stops."""
    max_ungraded: float = 0.1
    """Share of the items with a value before that may have none now; beyond it nobody knows, and the stage stops."""
    direction: Literal["higher", "lower"] = "higher"
    """Which way is better; a drop is a change to the other side."""
    against: Literal["start", "best"] = "start"
    """``best`` compares with the best look so far, whose luck counts as skill: it triggers more often for nothing."""

    def __post_init__(self) -> None:
        self._require("max_drop", self.max_drop >= 0, "0 or more")
        self._require("alpha", 0 < self.alpha < 1, "a probability between 0 and 1")
        self._require("action", self.action in get_args(Action), f"one of {', '.join(get_args(Action))}")
        self._require("factor", 0 < self.factor < 1, "a number between 0 and 1: it is there to lower something")
        self._require("max_times", self.max_times >= 1, "1 or more")
        self._require("max_ungraded", 0 <= self.max_ungraded <= 1, "a share")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise RecipeError(f"a guard's {name} is {getattr(self, name)}", do=f"use {wanted}")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule saw at one look."""

    now: float | None
    """The mean over the items compared; None where none is left."""
    before: float | None
    """The mean of the same items at what is compared with."""
    drop: float | None
    """How much worse it is now; negative where it is better."""
    p_value: float | None
    """Of the one-sided paired test that nothing dropped; None where nothing could be compared."""
    num_items: int
    num_missing: int
    """Items with a value before and none now."""
    outcome: Literal["held", "dropped", "ungraded"]


def compare(rule: Rule, now: Values, before: Values, *, clusters: Mapping[str, str] | None = None) -> Finding:
    """What ``rule`` sees in the values ``now`` beside those ``before``, on the items that have both.

    It drops if the mean falls by more than ``max_drop`` and the one-sided exact test rejects "no worse than before" at
    ``alpha``: McNemar's where every value is 0 or 1 and every item its own ``clusters`` entry, the sign-flip test else.
    An item without a value now is no drop; too many of them are ``ungraded``. Raises: ValueError for other items.
    """
    if now.keys() != before.keys():
        some = ", ".join(sorted(now.keys() ^ before.keys())[:3])
        raise ValueError(f"paired looks share their items; these are in one only: {some}")
    known = [item for item, value in before.items() if value is not None]
    pairs = {item: (float(now[item]), float(before[item])) for item in known if now[item] is not None}  # type: ignore[arg-type]
    missing = len(known) - len(pairs)
    if not pairs or missing > rule.max_ungraded * len(known) + _ROUNDING:
        means = _means(list(pairs.values())) if pairs else (None, None)
        return Finding(
            now=means[0],
            before=means[1],
            drop=None,
            p_value=None,
            num_items=len(pairs),
            num_missing=missing,
            outcome="ungraded",
        )
    sign = 1.0 if rule.direction == "higher" else -1.0
    mean_now, mean_before = _means(list(pairs.values()))
    drop = sign * (mean_before - mean_now)
    is_binary = all(value in (0.0, 1.0) for pair in pairs.values() for value in pair)
    signed = [(sign * value, sign * other) for value, other in pairs.values()]
    p_value = _p_value(signed, [(clusters or {}).get(item, item) for item in pairs], is_binary=is_binary)
    dropped = drop > rule.max_drop + _ROUNDING and p_value <= rule.alpha
    return Finding(
        now=mean_now,
        before=mean_before,
        drop=drop,
        p_value=p_value,
        num_items=len(pairs),
        num_missing=missing,
        outcome="dropped" if dropped else "held",
    )


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(now for now, _ in pairs) / len(pairs), sum(before for _, before in pairs) / len(pairs)


def _p_value(pairs: Sequence[tuple[float, float]], clusters: Sequence[str], *, is_binary: bool) -> float:
    """One-sided: how often chance alone falls as far. 1 where nothing fell; both tests are symmetric, so half of two
    sides is one, and the drawn flips' own rounding is added."""
    fall = sum(before - now for now, before in pairs)
    if fall <= 0:
        return 1.0
    if len(set(clusters)) == len(pairs) and is_binary:
        lost, gained = (sum(one < other for one, other in order) for order in (pairs, [(b, a) for a, b in pairs]))
        return mcnemar(gained, lost) / 2
    two_sided = sign_flip([now for now, _ in pairs], [before for _, before in pairs], clusters=clusters)
    return min(1.0, (two_sided + 1 / (NUM_FLIPS + 1)) / 2)


def why_idle(rule: Rule, start: Values, *, clusters: Mapping[str, str] | None = None) -> str:
    """Why ``rule`` could never trigger on a stage that starts at these values; empty if it could.

    What is tried is every item at its worst: 0, or the lowest value of the start, where higher is better; where lower
    is better nothing bounds it. Against the best look only the number of items counts, for the best is yet to come.
    """
    known = [value for value in start.values() if value is not None]
    floor = min(0.0, *known)
    mean = sum(known) / len(known)
    is_bounded = rule.direction == "higher" and rule.against == "start"
    if is_bounded and mean - floor <= rule.max_drop + _ROUNDING:
        return f"the stage starts at {mean:.3f}, which cannot fall by more than max_drop = {rule.max_drop:g}"
    far = rule.max_drop + 1.0 if rule.direction == "lower" else -rule.max_drop - 1.0
    worst = {item: None if v is None else floor if is_bounded else v + far for item, v in start.items()}
    found = compare(rule, worst, start, clusters=clusters)
    if found.outcome == "dropped":
        return ""
    return f"at their worst its {len(known)} items would have p = {found.p_value:.2g}, above alpha = {rule.alpha:g}"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What follows from a look."""

    course: Course
    learning_rate_factor: float = 1.0
    """The rate is multiplied by it from where training goes on."""
    share_factors: Mapping[int, float] = field(default_factory=dict)
    """Guard → what its domain's share is multiplied by."""
    acted: tuple[int, ...] = ()
    """The guards whose rule acted, by their place."""
    why: str = ""


def decide(
    rules: Sequence[Rule],
    findings: Sequence[Finding | None],
    *,
    names: Sequence[str],
    times: Sequence[int],
    is_last: bool = False,
) -> Order:
    """What follows from the ``findings`` of guards, None for one that did not look; the sharpest action wins.

    ``times`` counts how often each guard has acted. A lowering at the last step (``is_last``) could change nothing any
    more: it stops. Two actions that do not exclude each other are both taken.
    """
    acted = [
        index
        for index, (rule, found) in enumerate(zip(rules, findings, strict=True))
        if found is not None and found.outcome != "held" and rule.action != "watch"
    ]
    if not acted:
        return Order(course="go_on")
    actions = {index: _action(rules[index], findings[index], times[index]) for index in acted}
    why = "; ".join(_told(names[index], rules[index], findings[index], times[index]) for index in acted)
    taken = set(actions.values())
    if "stop" in taken or (is_last and "roll_back" not in taken):
        return Order(course="stop", acted=tuple(acted), why=why)
    rates = [rules[i].factor for i, action in actions.items() if action in ("roll_back", "lower_learning_rate")]
    return Order(
        course="roll_back" if "roll_back" in taken else "restart_here",
        learning_rate_factor=min(rates, default=1.0),
        share_factors={i: rules[i].factor for i, action in actions.items() if action == "lower_share"},
        acted=tuple(acted),
        why=why,
    )


def _action(rule: Rule, found: Finding | None, times: int) -> Action:
    assert found is not None
    return "stop" if found.outcome == "ungraded" or times >= rule.max_times else rule.action


def _told(name: str, rule: Rule, found: Finding | None, times: int) -> str:
    assert found is not None
    if found.outcome == "ungraded":
        known = found.num_items + found.num_missing
        most = f"at most {rule.max_ungraded:.0%}"
        return f"{name} has no value for {found.num_missing} of {known} items that had one ({most})"
    change = f"from {found.before:.3f} to {found.now:.3f} on {found.num_items} items"
    return f"{name} went {change} (p = {found.p_value:.2g})" + (
        f", after {times} times {rule.action}" if times >= rule.max_times else ""
    )
