"""What every metric says: which way is better, of what it speaks, and without which other metric it misleads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from strop.evals.suite import Dimension, Metric

Direction = Literal["higher", "lower"]
_HELP: Dimension = "helpfulness"
_SAFE: Dimension = "harmlessness"
_TRUE: Dimension = "truthfulness"
_RELY: Dimension = "reliability"


def _up(dimension: Dimension, *beside: str, weight: str | None = None) -> Metric:
    return Metric(direction="higher", dimension=dimension, beside=beside, weight=weight)


def _down(dimension: Dimension, *beside: str, weight: str | None = None) -> Metric:
    return Metric(direction="lower", dimension=dimension, beside=beside, weight=weight)


METRICS: Mapping[str, Metric] = {
    # Is it useful
    "accuracy": _up(_HELP),
    "worked": _up(_HELP, "accuracy"),
    "partial": _up(_HELP, "accuracy"),
    "steps": _up(_HELP, "accuracy"),
    "preferred": _up(_HELP, "accuracy", "grounded"),
    "win_rate": _up(_HELP, "accuracy", "grounded"),
    "argument_exact": _up(_HELP),
    "argument_share": _up(_HELP, "argument_exact"),
    "lenient_call": _up(_HELP, "argument_exact", "schema_valid"),
    "lenient_exact": _up(_HELP, "argument_exact", "schema_valid"),
    "adherence": _up(_HELP, "accuracy"),
    "rules": _up(_HELP, "accuracy"),
    "field_complete": _up(_HELP),
    "field_present": _up(_HELP, "field_complete"),
    "style": _up(_HELP, "accuracy"),
    "on_brand": _up(_HELP, "accuracy", "grounded"),
    "alternative": _up(_HELP, "refusal_recall"),
    "over_refusal": _down(_HELP, "violation", "refusal_recall"),
    "num_words": _down(_HELP, "accuracy", "grounded"),
    # Does it stay within bounds
    "violation": _down(_SAFE, "over_refusal"),
    "refusal_recall": _up(_SAFE, "over_refusal"),
    "refusal_precision": _up(_SAFE, "refusal_recall"),
    "constrained_recall": _up(_SAFE, "over_refusal"),
    "boundary_right": _up(_SAFE, "over_refusal", "violation"),
    "policy": _up(_SAFE, "accuracy"),
    # Is it true
    "grounded": _up(_TRUE),
    "grounded_claims": _up(_TRUE, "citation_coverage", "num_claims", weight="num_claims"),
    "unsupported_claims": _down(_TRUE, "grounded_claims", "num_claims", weight="num_claims"),
    "citation_coverage": _up(_TRUE, "citation_precision", weight="num_claims"),
    "citation_precision": _up(_TRUE, "citation_coverage", weight="num_citations"),
    "evidence_consistency": _up(_TRUE, "grounded_claims", weight="num_known"),
    "without_evidence": _down(_TRUE, "grounded_claims"),
    "cited": _up(_TRUE, "accuracy"),
    "honest": _up(_TRUE, "accuracy"),
    "caved": _down(_TRUE, "accuracy"),
    "by_chance": Metric(direction="lower", dimension=_TRUE, is_gate=False),
    "brier": _down(_TRUE, "accuracy"),
    "confidence": Metric(direction="higher", dimension=_TRUE, beside=("accuracy", "brier"), is_gate=False),
    # Does the system hold
    "schema_valid": _up(_RELY, "argument_exact"),
    "argument_valid": _up(_RELY, "argument_exact", "tool_precision", weight="num_calls"),
    "known_tool": _up(_RELY, "tool_precision", weight="num_calls"),
    "tool_precision": _up(_RELY, "tool_recall", weight="num_calls"),
    "tool_recall": _up(_RELY, "tool_precision"),
    "tool_success": _up(_RELY, "argument_exact", "tool_recall"),
    "no_call_kept": _up(_RELY, "tool_recall"),
    "executable": _up(_RELY, "argument_exact"),
    "call": _up(_RELY, "accuracy"),
    "format": _up(_RELY, "accuracy"),
    "truncated": _down(_RELY, "accuracy"),
    "repetition": _down(_RELY, "accuracy"),
    "echo": _down(_RELY, "accuracy"),
    # Counts: they say how much was done, never how well
    "call_rate": Metric(direction="higher", dimension=_RELY, beside=("tool_precision", "grounded"), is_gate=False),
    "num_calls": Metric(direction="lower", dimension=_RELY, beside=("tool_precision",), is_gate=False),
    "num_claims": Metric(direction="higher", dimension=_TRUE, beside=("grounded_claims",), is_gate=False),
    "num_citations": Metric(direction="higher", dimension=_TRUE, beside=("citation_precision",), is_gate=False),
}
"""Metric → how it is read. ``beside`` lists all companions that are known; ``described`` keeps those at hand."""


def described(directions: Mapping[str, Direction]) -> dict[str, Metric]:
    """The metrics of a suite that measures these, in their order, each with its dimension and its companions.

    Of the companions those that the suite measures; where it measures none of them ``accuracy``, which every suite
    does. A weight that is not measured is dropped: then every answer counts once. A metric that the table does not know
    has no dimension, and ``accuracy`` beside it.
    """
    return {name: _one(name, direction, directions) for name, direction in directions.items()}


def metrics_of(names: Iterable[str], *, weights: Iterable[str] = ()) -> dict[str, Metric]:
    """Known metrics as the table has them; ``weights`` are measured too but are no metrics of the suite.

    Raises: KeyError for one that the table does not know.
    """
    names, weights = tuple(names), frozenset(weights)
    found = described({name: METRICS[name].direction for name in names})
    for name, metric in found.items():
        weight = METRICS[name].weight
        found[name] = replace(metric, weight=weight if weight in weights or weight in names else None)
    return found


def _one(name: str, direction: Direction, measured: Mapping[str, Direction]) -> Metric:
    known = METRICS.get(name, Metric(direction=direction, beside=("accuracy",)))
    companions = tuple(other for other in known.beside if other in measured)
    if known.beside and not companions:
        companions = ("accuracy",)
    weight = known.weight if known.weight in measured else None
    return replace(known, direction=direction, beside=companions, weight=weight)
