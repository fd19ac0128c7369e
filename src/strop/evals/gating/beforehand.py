"""What a gate's configuration asks that its suites can never answer: told before any model is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from strop.errors import RecipeError
from strop.evals.gating.config import GateConfig
from strop.evals.gating.keys import Place, parts_of, threshold_places
from strop.evals.gating.regression import asked_places
from strop.evals.gating.thresholds import require_go_live, require_reachable
from strop.evals.measures.table import METRICS
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.evals.suite import Metric, Suite
from strop.types import Completion

_NO_SHARES = ("num_", "steps", "partial")
"""How the names of those metrics of the table begin whose values are counts or points."""
_OWN = ("strop.worlds.", "strop.evals.")
"""Where verifiers stand that measure the same names of every answer; others may measure what they like."""


def check_beforehand(config: GateConfig, suites: Mapping[str, Suite]) -> None:
    """Refuse what these suites will not measure, rate or hold, and what no answers to them could meet.

    What a verifier of the user's measures is not known, and a threshold on it is believed. Raises: RecipeError.
    """
    names = {name: _measured(name, suite, config.thresholds) for name, suite in suites.items()}
    blank = {name: _unanswered(suite, names[name]) for name, suite in suites.items()}
    for key, threshold in config.thresholds.items():
        for place in threshold_places(key, blank):
            is_share = _is_share(place.metric, suites[place.suite].metrics)
            require_reachable(
                place, threshold, is_share=is_share, is_runtime=place.metric in blank[place.suite].runtime()
            )
    margins, drops = asked_places(config, blank)
    for place in margins:
        _require_bounded(place)
    for place, drop in drops.items():
        _require_exceedable(place, drop, suites[place.suite].metrics)
    for rule in config.go_live:
        require_go_live(rule, blank)


def _measured(name: str, suite: Suite, thresholds: Iterable[str]) -> list[str]:
    """What each answer is measured by beside the suite's metrics: of a verifier of strop's own by measuring none."""
    if not type(suite.verifier).__module__.startswith(_OWN):
        return ["accuracy", *(metric for suite_name, metric, _ in map(parts_of, thresholds) if suite_name == name)]
    task, nothing = suite.tasks[0], Completion(token_ids=(), sampler_logprobs=(), text="", finish_reason="stop")
    verdict = suite.verifier(task, nothing)
    found = {} if suite.measure is None else suite.measure(task, nothing, verdict)
    return ["accuracy", *verdict.measures, *found]


def _unanswered(suite: Suite, names: Iterable[str]) -> SuiteResult:
    """A result of the suite with one empty answer to every task, to which no measure applies."""
    empty = SampleResult(
        text="",
        finish_reason="stop",
        state="graded",
        passed=False,
        score=0.0,
        reasons=(),
        measures=dict.fromkeys(names),
        num_prompt_tokens=0,
        num_tokens=0,
        latency_s=0.0,
    )
    items = (ItemResult(id=task.id, slices=dict(task.slices), question="", samples=(empty,)) for task in suite.tasks)
    return SuiteResult(name=suite.name, digests={}, params={}, metrics=dict(suite.metrics), items=tuple(items))


def _is_share(metric: str, metrics: Mapping[str, Metric]) -> bool:
    """Whether all values are known to lie in [0, 1]."""
    in_table = metric in metrics and metric in METRICS and not metric.startswith(_NO_SHARES)
    return metric == "accuracy" or in_table or (metric.endswith("_share") and metric not in metrics)


def _require_bounded(place: Place) -> None:
    if place.metric in METRICS and place.metric.startswith("num_"):
        raise RecipeError(
            f"`{place.key}` cannot have a margin",
            where="[gate]",
            why="it counts: its values do not stay between 0 and 1, so that no number of items bounds its mean",
            do="give it a `max_drop` or a threshold, and name the suite's other metrics one by one",
        )


def _require_exceedable(place: Place, drop: float, metrics: Mapping[str, Metric]) -> None:
    if drop >= 1 and _is_share(place.metric, metrics):
        raise RecipeError(
            f"`{place.key}` has a tolerated drop of {drop:g}",
            where="[gate]",
            why="its values lie between 0 and 1, and no drop of theirs exceeds that",
            do="write a share: 0.05 for five points",
        )
