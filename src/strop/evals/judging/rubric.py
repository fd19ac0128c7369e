"""Judged measures beside a suite's own: each criterion of a rubric, as far as the judge's word counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from strop.errors import MismatchError
from strop.evals.judging.compare import task_of
from strop.evals.judging.standing import Standing
from strop.evals.results import SampleResult, SuiteResult
from strop.evals.suite import DIMENSIONS, Dimension, Metric
from strop.types import Completion, Progress, Task, Verdict
from strop.verifiers.judge import JudgeVerifier

PREFIX = "judged_"
_UNTRUSTED = "untrusted_"


def judge_rubric(
    result: SuiteResult,
    judge: JudgeVerifier,
    standing: Standing,
    tasks: Sequence[Task] | None = None,
    *,
    dimensions: Mapping[str, Dimension] | None = None,
    num_requests: int = 64,
    progress: Progress | None = None,
) -> SuiteResult:
    """The result with ``judged_CRITERION`` of every answer, as a share of the rubric's scale, and the judge's digest.

    ``dimensions`` says what each criterion speaks of; one that is called like a dimension speaks of that. An answer on
    which the judge failed has no value, and counts in ``unjudged``. Where ``standing`` (``hold_to_people``) says that
    the judge's word does not count, or it failed at too many answers, none has a value: what asks for these metrics or
    their dimensions is then INSUFFICIENT. The numbers stay as ``untrusted_CRITERION``, which nothing rates. Raises:
    MismatchError without an item's task, for results that are judged already, and for the standing of another judge.
    """
    if "judge" in result.digests:
        raise MismatchError(f"the results of {result.name} are judged already", do="judge the results as evaluated")
    if standing.judge != judge.digest:
        raise MismatchError("the standing is of another judge or rubric", do="hold this judge to people")
    by_id = {task.id: task for task in tasks or ()}
    pairs = [(task_of(item, by_id), _completion(sample)) for item in result.items for sample in item.samples]
    verdicts: list[Verdict] = []
    for start in range(0, len(pairs), num_requests):
        verdicts += judge.judge_many(pairs[start : start + num_requests])
        if progress is not None:
            progress(f"judge {result.name}", len(verdicts), len(pairs), {})
    names = [criterion.name for criterion in judge.rubric.criteria]
    told, counts = iter(verdicts), standing.is_trusted and not too_many_unjudged(verdicts, standing)
    items = tuple(
        replace(item, samples=tuple(_measured(one, next(told), names, counts) for one in item.samples))
        for item in result.items
    )
    rated = {f"{PREFIX}{name}": _metric(name, dimensions or {}) for name in names}
    unjudged = {"unjudged": Metric(direction="lower", is_gate=False)}
    return replace(
        result,
        items=items,
        metrics={**result.metrics, **rated, **unjudged},
        digests={**result.digests, "judge": judge.digest},
    )


def too_many_unjudged(verdicts: Sequence[Verdict], standing: Standing) -> bool:
    """Whether the judge failed at more answers than it may."""
    return sum(verdict.score is None for verdict in verdicts) > standing.limits.max_ungraded * len(verdicts)


def _metric(name: str, dimensions: Mapping[str, Dimension]) -> Metric:
    own = next((dimension for dimension in DIMENSIONS if dimension == name), None)
    return Metric(direction="higher", dimension=dimensions.get(name, own), beside=("accuracy",))


def _completion(sample: SampleResult) -> Completion:
    """What the judge is shown; a cut answer as one that is cut, which it need not see."""
    is_whole = sample.finish_reason == "stop"
    text, reason = sample.text, "stop" if is_whole else "length"
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=reason)  # type: ignore[arg-type]


def _measured(sample: SampleResult, verdict: Verdict, names: Sequence[str], counts: bool) -> SampleResult:
    is_judged = verdict.score is not None
    measures: dict[str, float | None] = {"unjudged": float(not is_judged)}
    for name in names:
        # A cut or empty answer scores 0 without criteria: it has 0 of each.
        value = verdict.measures.get(name, 0.0) if is_judged else None
        measures[f"{PREFIX}{name}"] = value if counts else None
        if not counts:
            measures[f"{_UNTRUSTED}{name}"] = value
    return replace(sample, measures={**sample.measures, **measures})


def with_one_judge(candidate: SuiteResult, baseline: SuiteResult) -> SuiteResult:
    """The candidate's result as far as one judge judged both: values of two judges are never compared.

    Where the digests of the judges differ, its judged measures have no value, so that a gate finds them INSUFFICIENT.
    """
    if candidate.digests.get("judge") == baseline.digests.get("judge"):
        return candidate
    items = tuple(replace(item, samples=tuple(map(_without, item.samples))) for item in candidate.items)
    return replace(candidate, items=items)


def _without(sample: SampleResult) -> SampleResult:
    measures = {name: None if name.startswith(PREFIX) else value for name, value in sample.measures.items()}
    return replace(sample, measures=measures)
