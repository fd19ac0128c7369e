"""Coverage and false alarms by simulation from fixed seeds; each function answers one table over ``trials`` draws."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from coverage_counted import Cells, Table, holds, share
from scipy import stats

from strop import statistics as ours
from strop.statistics import Comparison

ALPHA = 0.05


def bootstrap(trials: int) -> Table:
    draws: dict[str, tuple[float, Callable[[np.random.Generator, int], tuple[list[float], list[int]]]]] = {
        "normal": (0.0, lambda g, n: (g.normal(size=n).tolist(), list(range(n)))),
        "exponential": (1.0, lambda g, n: (g.exponential(size=n).tolist(), list(range(n)))),
        "4 samples of tasks, Beta(2, 3)": (
            0.4,
            lambda g, n: (g.binomial(1, np.repeat(g.beta(2, 3, n), 4)).tolist(), np.repeat(range(n), 4).tolist()),
        ),
    }
    rows = []
    for n in (5, 10, 20, 50, 100):
        found = []
        for truth, draw in draws.values():
            g = np.random.default_rng(n)
            samples = [draw(g, n) for _ in range(trials // 2)]
            intervals = (
                ours.mean_interval(values, clusters=clusters, num_resamples=1000, seed=trial)
                for trial, (values, clusters) in enumerate(samples)
            )
            found.append(share(holds(interval, truth) for interval in intervals))
        rows.append((f"{n} clusters", tuple(found)))
    return Table(
        "`mean_interval`, `paired_difference` of anything else",
        f"{trials // 2} trials, 1000 resamples",
        ("", *draws),
        rows,
    )


def seeds(trials: int) -> Table:
    draws: dict[str, tuple[float, Callable[[np.random.Generator, int], list[float]]]] = {
        "normal": (0.0, lambda g, n: g.normal(size=n).tolist()),
        "exponential": (1.0, lambda g, n: g.exponential(size=n).tolist()),
        "pass rate of 200 items at 40 %": (0.4, lambda g, n: (g.binomial(200, 0.4, size=n) / 200).tolist()),
    }
    rows = []
    for n in (2, 3, 5, 10):
        g = np.random.default_rng(n)
        found = [
            share(holds(ours.over_seeds(draw(g, n)).interval, truth) for _ in range(4 * trials))
            for truth, draw in draws.values()
        ]
        rows.append((f"{n} seeds", tuple(found)))
    return Table("`over_seeds`", f"{4 * trials} trials", ("", *draws), rows)


def seeds_equivalence(trials: int) -> Table:
    rows = []
    for n in (3, 5, 10):
        found = []
        for std in (0.2, 0.5, 1.0):
            g = np.random.default_rng(n)
            differences = [g.normal(1.0, std, n).tolist() for _ in range(4 * trials)]
            found.append(share(ours.is_equivalent_over_seeds(d, [0.0] * n, margin=1.0) for d in differences))
        rows.append((f"{n} seeds", tuple(found)))
    header = ("", "spread 0.2 margins", "0.5 margins", "1 margin")
    return Table(
        "`is_equivalent_over_seeds` at the margin: false alarms at α = 5 %", f"{4 * trials} trials", header, rows
    )


def sign_flips(trials: int) -> Table:
    rows: list[tuple[str, Cells]] = []
    for n in (5, 6, 10):
        sizes = np.random.default_rng(n).exponential(size=n)
        patterns = [(sizes * signs).tolist() for signs in itertools.product([1, -1], repeat=n)]
        p_values = np.array([ours.sign_flip(pattern, [0.0] * n) for pattern in patterns])
        rows.append(
            (f"{n} items, every pattern (exact)", tuple(100 * float((p_values <= a).mean()) for a in (0.01, 0.05, 0.1)))
        )
    for n, copies in ((30, 1), (100, 1), (30, 4)):
        g, p_values = np.random.default_rng(n + copies), np.empty(trials)
        for t in range(trials):
            values = (np.repeat(g.standard_t(3, n), copies) + g.normal(0, 0.1, n * copies)).tolist()
            items = np.repeat(range(n), copies).tolist()
            p_values[t] = ours.sign_flip(values, [0.0] * len(values), clusters=items, num_flips=299, seed=t)
        rows.append(
            (
                f"{n} items, {copies} samples each ({trials} trials)",
                tuple(100 * float((p_values <= a).mean()) for a in (0.01, 0.05, 0.1)),
            )
        )
    return Table(
        "`sign_flip`: false alarms", "exact, then 299 random flips", ("", "α = 1 %", "α = 5 %", "α = 10 %"), rows
    )


def holm(trials: int) -> Table:
    """Normal statistics with a common correlation; the last ``num_false`` hypotheses are false by 3 standard errors."""
    rows = []
    for m, num_false in ((3, 0), (10, 0), (10, 5)):
        found = []
        for correlation in (0.0, 0.5, 0.9):
            g = np.random.default_rng(m)
            z = np.sqrt(1 - correlation) * g.normal(size=(4 * trials, m)) + np.sqrt(correlation) * g.normal(
                size=(4 * trials, 1)
            )
            z[:, m - num_false :] += 3
            p_values = 2 * stats.norm.sf(np.abs(z))
            found.append(share(any(ours.holm_rejections(p.tolist())[: m - num_false]) for p in p_values))
        rows.append((f"{m} tests, {num_false} of them rightly", tuple(found)))
    return Table(
        "`holm_rejections`: any false alarm at α = 5 %",
        f"{4 * trials} trials",
        ("", *(f"correlation {c}" for c in (0.0, 0.5, 0.9))),
        rows,
    )


KAPPAS = {
    "2 labels, κ = 0": ([[0.25, 0.25], [0.25, 0.25]], None),
    "2 labels, κ = 0.6": ([[0.4, 0.1], [0.1, 0.4]], None),
    "2 labels, one rare, κ = 0.44": ([[0.05, 0.05], [0.05, 0.85]], None),
    "3 labels, quadratic": ([[0.3, 0.05, 0.02], [0.05, 0.2, 0.05], [0.02, 0.06, 0.25]], "quadratic"),
}


def kappa(trials: int) -> Table:
    rows = []
    for n in (20, 50, 100, 300):
        g, found = np.random.default_rng(n), []
        for shares, weights in KAPPAS.values():
            size, flat = len(shares), np.ravel(shares)
            exact = np.round(flat * 100).astype(
                int
            )  # the truth: the same function on a table with exactly these shares
            truth = ours.cohen_kappa(*_labels(exact, size), categories=range(size), weights=weights).kappa
            draws = g.multinomial(n, flat, size=trials)
            found.append(
                share(
                    holds(ours.cohen_kappa(*_labels(d, size), categories=range(size), weights=weights).interval, truth)
                    for d in draws
                )
            )
        rows.append((f"n = {n}", tuple(found)))
    return Table("`cohen_kappa`", f"{trials} trials; none without an interval", ("items", *KAPPAS), rows)


def _labels(counts: np.ndarray, size: int) -> tuple[list[int], list[int]]:
    cells = np.repeat(np.arange(size * size), counts)
    return (cells // size).tolist(), (cells % size).tolist()


def true_rate(trials: int) -> Table:
    rates, rows = (0.02, 0.1, 0.3, 0.5, 0.8), []
    for n, audit, a, b in (
        (50, 20, 0.9, 0.8),
        (200, 20, 0.9, 0.8),
        (200, 100, 0.9, 0.8),
        (1000, 100, 0.9, 0.95),
        (1000, 100, 0.7, 0.6),
    ):
        g, found = np.random.default_rng(n + audit), []
        for p in rates:
            graded = g.binomial(n, p * a + (1 - p) * (1 - b), trials)
            good, bad = g.binomial(audit, a, trials), g.binomial(audit, b, trials)
            found.append(share(_corrected(int(k), n, int(x), int(y), audit, p) for k, x, y in zip(graded, good, bad)))
        rows.append((f"{n} graded, {audit} + {audit} audited, sensitivity {a}, specificity {b}", tuple(found)))
    return Table("`true_rate_interval`", f"{trials} trials", ("", *(f"p = {p}" for p in rates)), rows)


def _corrected(passed: int, n: int, good: int, bad: int, audit: int, truth: float) -> bool | None:
    try:
        found = ours.true_rate_interval(passed, n, passed_good=good, num_good=audit, failed_bad=bad, num_bad=audit)
    except ValueError:  # an audit by chance no better than chance
        return None
    return holds(found[1], truth)


def ratings(trials: int) -> Table:
    rows = []
    for each in (5, 10, 30):
        found: list[float | None] = []
        for tie_rate, place in ((0.0, 0.0), (0.4, 0.0), (0.0, 0.8)):
            g = np.random.default_rng(each)
            told = [_rated(g, each, tie_rate, place) for _ in range(trials // 2)]
            found += [share(hit[0] for hit in told), share(hit[1] for hit in told)]
        rows.append((f"{each} comparisons a pair", tuple(found)))
    header = (
        "4 players",
        *(
            f"{what}, {case}"
            for case in ("no ties", "40 % ties", "with a place effect")
            for what in ("rating", "difference")
        ),
    )
    return Table("`bradley_terry`", f"{trials // 2} trials; refused ones left out", header, rows)


def _rated(g: np.random.Generator, each: int, tie_rate: float, place: float) -> tuple[bool | None, bool | None]:
    """Whether the intervals of one rating and of one difference hold the truth; None when the draw is refused."""
    strength, comparisons = {"a": 0.6, "b": 0.2, "c": -0.2, "d": -0.6}, []
    for one, other in itertools.combinations(strength, 2):
        for game in range(each):
            side = 1.0 if game % 2 else -1.0
            chance = 1 / (1 + np.exp(-(strength[one] - strength[other] + place * side)))
            # A tie takes from wins and losses alike so that the expected score, win + tie / 2, stays the model's.
            tie = tie_rate * 2 * min(chance, 1 - chance)
            score = float(g.choice([1.0, 0.5, 0.0], p=[chance - tie / 2, tie, 1 - chance - tie / 2]))
            comparisons.append(Comparison(one, other, score, (side,) if place else ()))
    try:
        found = ours.bradley_terry(comparisons)
    except ValueError:  # somebody lost or won everything
        return None, None
    return holds(found.rating("a")[1], 0.6), holds(found.difference("a", "c")[1], 0.8)


def power(trials: int) -> Table:
    rows = []
    for n, gain, loss in ((50, 0.2, 0.05), (100, 0.15, 0.05), (300, 0.1, 0.06), (300, 0.1, 0.1)):
        g = np.random.default_rng(n)
        counts = g.multinomial(n, [gain, loss, 1 - gain - loss], size=4 * trials)
        found = share(ours.mcnemar(int(up), int(down)) <= ALPHA for up, down, _ in counts)
        rows.append(
            (f"paired, {n} items, gained {gain}, lost {loss}", (100 * ours.mcnemar_power(n, gain, loss), found))
        )
    for n, p, q in ((50, 0.5, 0.75), (100, 0.4, 0.5), (500, 0.4, 0.45), (50, 0.02, 0.1)):
        k = np.arange(n + 1) / n
        pooled = np.add.outer(k, k) / 2
        spread = np.maximum(np.sqrt(2 * pooled * (1 - pooled) / n), 1e-12)
        weights = np.outer(stats.binom.pmf(range(n + 1), n, p), stats.binom.pmf(range(n + 1), n, q))
        found = 100 * float(weights[np.abs(np.subtract.outer(k, k)) / spread > stats.norm.isf(ALPHA / 2)].sum())
        rows.append((f"unpaired, {n} items a side, {p} and {q} (exact)", (100 * ours.two_rate_power(n, p, q), found)))
    return Table("`mcnemar_power`, `two_rate_power`", f"{4 * trials} trials", ("", "said", "found"), rows)
