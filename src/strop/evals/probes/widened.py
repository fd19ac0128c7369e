"""A world's own suite with more measured of every answer: how it speaks, how sure it is, all four dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from strop.errors import RecipeError
from strop.evals.measures.actions import CallsRun
from strop.evals.measures.confidence import measure_confidence
from strop.evals.measures.speech import measure_speech
from strop.evals.measures.support import COUNTS, measure_support, with_calls
from strop.evals.measures.table import METRICS, described
from strop.evals.measures.together import together
from strop.evals.measures.tone import Tone, fitted_tone
from strop.evals.suite import Measure, Suite, world_suite
from strop.worlds import FinanceWorld, get_world

_SPEECH = ("num_words", "repetition", "echo")
_SURE = ("confidence", "brier")
_ASSISTANT = (
    "executable",
    "grounded_claims",
    "unsupported_claims",
    "citation_coverage",
    "citation_precision",
    "evidence_consistency",
    "on_brand",
    *COUNTS[:2],
)
_TONE_PAIRS = 600


def widened(suite: Suite, names: tuple[str, ...], *measures: Measure, name: str) -> Suite:
    """The suite under another name with more metrics, taken from ``measures.METRICS``, and the measures they need.

    Raises: KeyError for a metric that the table does not know.
    """
    directions = {known: metric.direction for known, metric in suite.metrics.items()} | {
        "accuracy": METRICS["accuracy"].direction
    }
    metrics = described(directions | {metric: METRICS[metric].direction for metric in names})
    own = () if suite.measure is None else (suite.measure,)
    return replace(suite, name=name, metrics=metrics, measure=together(*own, *measures))


def speech_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any]) -> Suite:
    """``speech:NAME``: a world's suite with ``num_words``, ``repetition`` and ``echo``. Raises: RecipeError."""
    plain = world_suite(get_world(world), num_tasks=num_tasks, seed=seed, **dial)
    return widened(plain, _SPEECH, measure_speech, name=f"speech-{world}")


def calibration_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any]) -> Suite:
    """``calibration:NAME``: a world's suite with ``confidence`` and ``brier``; ``measures.calibration_of`` reads ECE,
    selective accuracy and the rest off its results, ``measures.agreement_of`` where each task has several answers.
    Raises: RecipeError."""
    plain = world_suite(get_world(world), num_tasks=num_tasks, seed=seed, **dial)
    return widened(plain, _SURE, measure_confidence, name=f"calibration-{world}")


def assistant_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any]) -> Suite:
    """``assistant:finance``: the finance suite with what else is known of an answer, over all four dimensions:
    whether its calls run, its claims and citations, its tone, how it speaks and how sure it is. Raises: RecipeError."""
    if world != "finance":
        raise RecipeError(f"there is no assistant:{world}", why="it needs tools, evidence and pairs", do="use finance")
    source = FinanceWorld()
    plain = world_suite(source, num_tasks=num_tasks, seed=seed, **dial)
    plain = replace(plain, tasks=tuple(map(with_calls, plain.tasks)))
    measures: tuple[Measure, ...] = (
        CallsRun(source.execute, source.name),
        measure_support,
        finance_tone(),
        measure_speech,
        measure_confidence,
    )
    return widened(plain, (*_ASSISTANT, *_SPEECH, *_SURE), *measures, name="assistant-finance")


def finance_tone() -> Tone:
    """The tone that the finance world's pairs prefer: fitted on its training split, audited on its test split."""
    source = FinanceWorld()
    return fitted_tone(source.preferences("train", _TONE_PAIRS), source.preferences("test", _TONE_PAIRS))
