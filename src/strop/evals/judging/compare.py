"""Two results of one suite, judged item by item in both orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.judging.items import JudgedItem
from strop.evals.judging.kept import Kept
from strop.evals.judging.result import JudgeResult
from strop.evals.judging.standing import Limits, hold_to_people
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.types import Progress, Task
from strop.verifiers.anchors import Anchor, AnchorReport
from strop.verifiers.judge import Comparison, PairwiseJudge

_AGAIN = ("infrastructure", "timeout")


@dataclass(frozen=True)
class _Pair:
    """An item's first answers of both models."""

    task: Task
    item: ItemResult
    mine: SampleResult
    other: SampleResult


def judge_suite(
    candidate: SuiteResult,
    baseline: SuiteResult,
    judge: PairwiseJudge,
    tasks: Sequence[Task] | None = None,
    *,
    anchors: Sequence[Anchor] = (),
    before: AnchorReport | None = None,
    limits: Limits | None = None,
    dimensions: Sequence[str] = ("helpfulness",),
    folder: Path | str | None = None,
    num_items: int = 32,
    progress: Progress | None = None,
) -> JudgeResult:
    """What the judge says of each item's first answers, candidate against baseline, in both orders.

    ``anchors`` (for pairs: ``pair_anchors``) are judged in the same run, and ``before`` is how the judge stood when
    people examined it. ``tasks`` are those of the suite; without them what the results keep of the prompts. Answers
    that are the same are a tie unasked; where one of the two is cut off or empty the other wins unasked, where both
    are nothing is decided. With ``folder`` every ``num_items`` items are kept, and a run that was killed goes on;
    what a server failed at is asked again. Raises: MismatchError for results of different items, or without prompts.
    """
    pairs = _pairs(candidate, baseline, tasks)
    kept = Kept(folder, candidate.name, digest_json([candidate.digest, baseline.digest, judge.digest]))
    found = {item.id: item for item in kept.read() if item.state not in _AGAIN}
    missing = [pair for pair in pairs if pair.item.id not in found]
    for start in range(0, len(missing), num_items):
        judged = _judge(judge, missing[start : start + num_items])
        kept.append(judged)
        found |= {item.id: item for item in judged}
        if progress is not None:
            wins = sum(item.outcome == "win" for item in found.values())
            progress(f"judge {candidate.name}", len(found), len(pairs), {"wins": float(wins)})
    result = JudgeResult(
        suite=candidate.name,
        judge=judge.digest,
        model=judge.judge.model,
        criterion=judge.criterion,
        candidate=candidate.digest,
        baseline=baseline.digest,
        models=(candidate.digests["model"], baseline.digests["model"]),
        standing=hold_to_people(judge, anchors, before=before, limits=limits),
        dimensions=tuple(dimensions),
        accuracy=_accuracy(candidate, baseline),
        items=tuple(found[pair.item.id] for pair in pairs),
    )
    if folder is not None:
        result.save(folder)
        kept.remove()
    return result


def _accuracy(candidate: SuiteResult, baseline: SuiteResult) -> tuple[float, float] | None:
    """Of both, without which a win rate says little; None where it was not measured."""
    now, before = candidate.rate("accuracy").value, baseline.rate("accuracy").value
    return None if now is None or before is None else (now, before)


def _pairs(candidate: SuiteResult, baseline: SuiteResult, tasks: Sequence[Task] | None) -> list[_Pair]:
    earlier = {item.id: item for item in baseline.items}
    alone = {item.id for item in candidate.items} ^ earlier.keys()
    if alone:
        what = f"{len(alone)} items of suite {candidate.name} are on one side only, for example {min(alone)!r}"
        raise MismatchError(what, why="answers to one task are compared", do="evaluate both models on the same suite")
    by_id = {task.id: task for task in tasks or ()}
    return [_Pair(task_of(item, by_id), item, item.samples[0], earlier[item.id].samples[0]) for item in candidate.items]


def task_of(item: ItemResult, tasks: Mapping[str, Task]) -> Task:
    """The task that was asked: of ``tasks`` by its id, else what the results keep of its prompt.

    Raises: MismatchError if neither is there, or another task has the id.
    """
    task = tasks.get(item.id)
    if task is not None:
        asked = task.prompt[-1].content if task.prompt else ""
        if asked != item.question:
            raise MismatchError(f"task {item.id} is not what was asked", do="give the tasks of the evaluated suite")
        return task
    if not item.prompt:
        raise MismatchError(
            f"the prompt of item {item.id} is not known", why="the results do not keep it", do="give the suite's tasks"
        )
    return Task(id=item.id, prompt=item.prompt, slices=item.slices, cluster=item.cluster)


def _judge(judge: PairwiseJudge, pairs: Sequence[_Pair]) -> list[JudgedItem]:
    asked = [pair for pair in pairs if _unasked(pair) is None]
    told = iter(judge.compare([(pair.task, pair.mine.text, pair.other.text) for pair in asked]))
    return list(_items(pairs, told))


def _items(pairs: Sequence[_Pair], told: Iterator[Comparison]) -> Iterator[JudgedItem]:
    for pair in pairs:
        found, reason = _unasked(pair) or (next(told), "")
        state = "graded"
        if found.outcome is None:
            state, reason = "unasked", reason
            if found.failure is not None:
                state, reason = found.failure.state, "; ".join(found.failure.reasons)
        yield JudgedItem(
            id=pair.item.id,
            outcome=found.outcome,
            said=found.said,
            state=state,
            reason=reason,
            cluster=pair.item.cluster,
            slices=dict(pair.item.slices),
            num_chars=len(pair.mine.text),
            num_chars_baseline=len(pair.other.text),
        )


def _unasked(pair: _Pair) -> tuple[Comparison, str] | None:
    """What needs no judge, with the reason; None where it must be asked."""
    broken = [sample.finish_reason != "stop" or not sample.text.strip() for sample in (pair.mine, pair.other)]
    if all(broken):
        return Comparison(outcome=None), "both answers are cut off or empty"
    if any(broken):
        whose = "candidate's" if broken[0] else "baseline's"
        return Comparison(outcome="loss" if broken[0] else "win"), f"the {whose} answer is cut off or empty"
    return (Comparison(outcome="tie"), "the answers are the same") if pair.mine.text == pair.other.text else None
