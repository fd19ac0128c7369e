"""Brand tone: a small classifier of style whose every feature can be read, and the audit without which it is not used.

It is fitted on texts that a product prefers and rejects. It says how a text sounds, not whether it is true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strop.digests import digest_json
from strop.errors import DataError
from strop.evals.results import Rate
from strop.types import Completion, Preference, Task, Verdict

if TYPE_CHECKING:
    from strop.evals.results import SuiteResult

_POLITE = r"\b(?:please|thank|thanks|sorry|unfortunately|hope|glad|happy|wonderful|great|kind\w*|welcome|terribly)\b"
_HEDGES = r"\b(?:may|might|perhaps|maybe|should|seem\w*|somewhat|probably|possibly|as far as|all in all|carefully)\b"
_FIRST = r"\b(?:i|we|me|us|my|our|let me)\b"


def _count(pattern: str) -> Callable[[str], float]:
    return lambda text: float(len(re.findall(pattern, text, re.IGNORECASE)))


FEATURES: Mapping[str, Callable[[str], float]] = {
    "words": lambda text: float(len(text.split())),
    "sentences": _count(r"[.!?](?=\s|$)"),
    "sources": _count(r"\[[\w.:/-]+\]"),
    "figures": _count(r"\d[\d,.]*"),
    "polite": _count(_POLITE),
    "hedges": _count(_HEDGES),
    "first_person": _count(_FIRST),
    "exclamations": _count("!"),
    "offers": _count(r"\binstead\b"),
}
"""Feature → its value for a text: what a reader could count."""
_RIDGE = 0.1
_NUM_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class ToneAudit:
    """What the classifier says of held-out texts whose side is known."""

    num_preferred: int
    preferred_found: int
    num_rejected: int
    rejected_found: int

    @property
    def sensitivity(self) -> float:
        """Preferred texts that it calls on brand."""
        return self.preferred_found / self.num_preferred

    @property
    def specificity(self) -> float:
        """Rejected texts that it does not."""
        return self.rejected_found / self.num_rejected


@dataclass(frozen=True, kw_only=True)
class ToneModel:
    """P(preferred | text) = σ(bias + Σ weight · (feature - mean) / scale)."""

    weights: Mapping[str, float]
    means: Mapping[str, float]
    scales: Mapping[str, float]
    bias: float

    def __call__(self, text: str) -> float:
        logit = self.bias + sum(self.told(text).values())
        return 1 / (1 + math.exp(-min(30.0, max(-30.0, logit))))

    def told(self, text: str) -> dict[str, float]:
        """Feature → what it adds to the logit, so that every verdict can be explained."""
        return {
            name: weight * (FEATURES[name](text) - self.means[name]) / self.scales[name]
            for name, weight in self.weights.items()
        }

    @property
    def digest(self) -> str:
        """Identity of the fit."""
        return digest_json(["tone", dict(self.weights), dict(self.means), dict(self.scales), self.bias])


def fit_tone(preferred: Sequence[str], rejected: Sequence[str]) -> ToneModel:
    """A logistic regression over the standardised features, by Newton's method with a ridge of 0.1 on the weights.

    Minimises Σ log(1 + exp(-y logit)) + 0.05 |w|², y = ±1: the same texts give the same model.
    *Source*: Hosmer and Lemeshow 2000; the ridge keeps separable texts from infinite weights.
    Raises: DataError without texts on either side.
    """
    if not preferred or not rejected:
        raise DataError(
            f"{len(preferred)} preferred and {len(rejected)} rejected texts",
            why="a style is told from another by examples of both",
            do="give texts of both sides",
        )
    texts = [*preferred, *rejected]
    import numpy as np  # slow to import, and recipes are read without it

    table = np.array([[measure(text) for measure in FEATURES.values()] for text in texts])
    means, spread = table.mean(axis=0), table.std(axis=0)
    scales = np.where(spread > 0, spread, 1.0)
    design = np.hstack([np.ones((len(texts), 1)), (table - means) / scales])
    target = np.array([1.0] * len(preferred) + [0.0] * len(rejected))
    ridge = np.diag([1e-6, *[_RIDGE] * len(FEATURES)])
    weights = np.zeros(design.shape[1])
    for _ in range(_NUM_STEPS):
        stated = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (stated - target) + ridge @ weights
        curvature = (design * (stated * (1 - stated))[:, None]).T @ design + ridge
        weights -= np.linalg.solve(curvature, slope)
    return ToneModel(
        weights=dict(zip(FEATURES, weights[1:].tolist(), strict=True)),
        means=dict(zip(FEATURES, means.tolist(), strict=True)),
        scales=dict(zip(FEATURES, scales.tolist(), strict=True)),
        bias=float(weights[0]),
    )


def audit_tone(model: Callable[[str], float], preferred: Sequence[str], rejected: Sequence[str]) -> ToneAudit:
    """The classifier against texts that it was not fitted on. Raises: DataError without texts on either side."""
    if not preferred or not rejected:
        raise DataError("an audit of tone needs held-out texts of both sides", do="give some that were not fitted on")
    return ToneAudit(
        num_preferred=len(preferred),
        preferred_found=sum(model(text) >= 0.5 for text in preferred),
        num_rejected=len(rejected),
        rejected_found=sum(model(text) < 0.5 for text in rejected),
    )


def texts_of(pairs: Sequence[Preference]) -> tuple[list[str], list[str]]:
    """What pairs prefer and reject; pairs in which a side calls a tool are no matter of tone, and left out."""
    spoken = [
        (pair.chosen[-1].content, pair.rejected[-1].content)
        for pair in pairs
        if not pair.chosen[-1].tool_calls and not pair.rejected[-1].tool_calls
    ]
    return [better for better, _ in spoken], [worse for _, worse in spoken]


# ---------------------------------------------------------------------------------------------------------- the measure


@dataclass(frozen=True, kw_only=True)
class Tone:
    """``on_brand``: the classifier calls the answer preferred; over whole answers in words, None elsewhere."""

    model: ToneModel
    audit: ToneAudit

    @property
    def digest(self) -> str:
        """Identity of the fit; the audit says how far to trust it and changes no value."""
        return self.model.digest

    def __call__(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        if completion.is_truncated or "<tool_call>" in completion.text or not completion.text.strip():
            return {"on_brand": None}
        return {"on_brand": float(self.model(completion.text) >= 0.5)}

    def rate(self, result: SuiteResult) -> Rate:
        """The share of answers that truly are on brand: what was observed, corrected for the classifier's errors.

        The interval holds the doubt of the answers and of the audit (``statistics.true_rate_interval``); a cluster is
        one piece of evidence, however many items and samples it has. Undefined without answers, and where the audit
        finds the classifier no better than chance: then nothing can be read off.
        """
        from strop.statistics import true_rate_interval

        found = [(item, value) for item in result.items if (value := item.value("on_brand")) is not None]
        values, audit = [value for _, value in found], self.audit
        if not values or audit.sensitivity + audit.specificity <= 1:
            return Rate(None, 0, None)
        num_clusters = len({item.cluster or item.id for item, _ in found})
        estimate, interval = true_rate_interval(
            num_clusters * sum(values) / len(values),
            num_clusters,
            passed_good=audit.preferred_found,
            num_good=audit.num_preferred,
            failed_bad=audit.rejected_found,
            num_bad=audit.num_rejected,
        )
        return Rate(estimate, len(values), interval)


def fitted_tone(train: Sequence[Preference], held_out: Sequence[Preference]) -> Tone:
    """A tone fitted on one set of pairs and audited on another, without the texts that stand in both.

    Raises: DataError where either is left without texts of both sides.
    """
    better, worse = texts_of(train)
    seen = {*better, *worse}
    fresh = tuple([text for text in texts if text not in seen] for texts in texts_of(held_out))
    model = fit_tone(better, worse)
    return Tone(model=model, audit=audit_tone(model, *fresh))
