"""What a judge's limits let through and refuse: the preference test's level and power, the drift alarm, the agreement.

    python benchmarks/judge_limits.py

Seeded simulation and exact sums; docs/judges.md has the numbers.
"""

from __future__ import annotations

import random
from math import comb

from strop.evals.judging.items import JudgedItem, preference_p_value
from strop.verifiers.anchors import AnchorReport, drift_p_value

ALPHA = 0.05
DRIFT_ALPHA = 0.01
MIN_AGREEMENT = 0.8


def blocked(num_items: int, win: float, loss: float, rng: random.Random, repeats: int = 2000) -> float:
    """How often the test blocks where wins and losses have these chances and the rest are ties."""
    count = 0
    for _ in range(repeats):
        drawn = rng.choices(("win", "loss", "tie"), (win, loss, 1 - win - loss), k=num_items)
        items = [JudgedItem(id=str(number), outcome=outcome) for number, outcome in enumerate(drawn)]  # type: ignore[arg-type]
        count += preference_p_value(items) <= ALPHA
    return count / repeats


def alarmed(num_anchors: int, turned: float, rng: random.Random, repeats: int = 5000) -> float:
    """How often the drift of a judge is found that agreed on all anchors and turns each round with this chance."""
    labels = tuple(number % 2 == 0 for number in range(num_anchors))
    before = AnchorReport(judge="j", anchors="a", labels=labels, passed=labels)
    count = 0
    for _ in range(repeats):
        passed = tuple(label != (rng.random() < turned) for label in labels)
        now = AnchorReport(judge="j", anchors="a", labels=labels, passed=passed)
        count += drift_p_value(before, now) < DRIFT_ALPHA
    return count / repeats


def refused(num_anchors: int, agreement: float) -> float:
    """The chance that a judge of this true agreement shows less than the limit on so many anchors."""
    found = range(num_anchors + 1)
    return sum(
        comb(num_anchors, k) * agreement**k * (1 - agreement) ** (num_anchors - k)
        for k in found
        if k / num_anchors < MIN_AGREEMENT
    )


def main() -> None:
    """Print the three tables."""
    rng = random.Random(0)
    print(f"blocked at {ALPHA}, by items: no difference (30 % each), win rate 0.45 (25/35 %), 0.40 (20/40 %)")
    for num_items in (50, 100, 200, 400):
        rates = [blocked(num_items, *chances, rng) for chances in ((0.3, 0.3), (0.25, 0.35), (0.2, 0.4))]
        print(f"{num_items:>5}", *(f"{rate:7.3f}" for rate in rates))
    print("drift found, by anchors, of a judge that turns 5, 10, 15, 20, 30 % of them round")
    for num_anchors in (30, 40, 60, 100):
        print(
            f"{num_anchors:>5}",
            *(f"{alarmed(num_anchors, turned, rng):7.3f}" for turned in (0.05, 0.1, 0.15, 0.2, 0.3)),
        )
    print(f"shows less than {MIN_AGREEMENT}, by anchors, at a true agreement of 60, 70, 85, 90, 95 %")
    for num_anchors in (30, 40, 60, 100):
        print(
            f"{num_anchors:>5}",
            *(f"{refused(num_anchors, agreement):7.3f}" for agreement in (0.6, 0.7, 0.85, 0.9, 0.95)),
        )


if __name__ == "__main__":
    main()
