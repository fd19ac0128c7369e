"""Evaluating a model on a suite: sample, judge, measure, keep."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.digests import digest_file, digest_json
from strop.errors import MismatchError, RecipeError, VerifierError
from strop.evals.metrics import Price
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.evals.suite import Suite
from strop.files import new_folder
from strop.types import Completion, Progress, Sampler, SamplingParams, Task, Verdict
from strop.verifiers.pool import GradingPool
from strop.verifiers.readiness import require_ready

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

_CODE = ("chat", "sampling", "verifiers", "worlds", "evals")


def evaluate(
    sampler: Sampler,
    template: ChatTemplate,
    suite: Suite,
    *,
    model_digest: str,
    params: SamplingParams,
    samples_per_task: int = 1,
    price: Price | None = None,
    num_requests: int = 64,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """The suite's items with what the model answered and what was measured.

    pass@1 is ``accuracy`` at temperature 1 (with several samples a task if wanted); greedy is temperature 0. Every
    answer draws from its own generator, keyed by (seed, task id, sample), so that leaving out a task changes no other
    answer. Requests go out ``num_requests`` at a time. An answer that hangs or crashes the verifier is ``timeout`` or
    ``error`` and delays nobody. With ``folder`` the outcome is kept in ``folder/<key>`` and taken from there when
    model, template, suite, parameters and code are the same. Raises: RecipeError for several greedy samples; the
    UserError that the verifier raises, before anything is sampled if what it needs is not on this machine.
    """
    if samples_per_task < 1 or (samples_per_task > 1 and params.temperature == 0):
        raise RecipeError(
            f"{samples_per_task} samples a task at temperature {params.temperature:g}",
            why="greedy decoding gives the same answer every time" if samples_per_task > 1 else "there would be none",
            do="set samples_per_task = 1, or a temperature above 0",
        )
    digests = {
        "model": model_digest,
        "template": template.digest,
        "tokenizer": template.lock["tokenizer"],
        "tools": suite.tools_digest,
        "index": suite.index_digest,
        "verifier": suite.verifier.digest,
        "suite": suite.digest,
    }
    # As they will be read back: tuples become lists and integer keys strings.
    settings = json.loads(json.dumps({**asdict(params), "samples_per_task": samples_per_task}))
    paid = asdict(price) if price else None
    key = digest_json([digests, settings, paid, num_requests, _code_digest()])
    place = folder / key if folder is not None else None
    if place is not None and place.exists():
        try:
            return SuiteResult.load(place, suite.name)
        except MismatchError:
            pass  # torn or edited: evaluated again
    require_ready(suite.verifier, suite.tasks)
    with GradingPool(suite.verifier) as pool:
        answers = _answer(sampler, template, suite, pool, params, samples_per_task, price, num_requests, progress)
    result = SuiteResult(
        name=suite.name,
        digests=digests,
        params=settings,
        metrics=dict(suite.metrics),
        version=suite.version,
        surroundings=_surroundings(template, suite),
        items=tuple(_item(task, samples) for task, samples in zip(suite.tasks, answers, strict=True)),
    )
    if place is not None:
        with new_folder(place, replace=True) as fresh:
            result.save(fresh)
    return result


def _answer(
    sampler: Sampler,
    template: ChatTemplate,
    suite: Suite,
    pool: GradingPool,
    params: SamplingParams,
    samples_per_task: int,
    price: Price | None,
    num_requests: int,
    progress: Progress | None,
) -> list[list[SampleResult]]:
    """For each task, its judged samples."""
    answers: list[list[SampleResult]] = [[] for _ in suite.tasks]
    prompts = [template.prompt_ids(task.prompt, task.tools) for task in suite.tasks]
    jobs = [(index, sample) for index in range(len(prompts)) for sample in range(samples_per_task)]
    num_passed = 0
    for start in range(0, len(jobs), num_requests):
        chunk = jobs[start : start + num_requests]
        seeds = [row_seed(params.seed, suite.tasks[index].id, sample) for index, sample in chunk]
        began = time.monotonic()
        completions = sampler.sample([prompts[index] for index, _ in chunk], params, seeds=seeds)
        latency_s = time.monotonic() - began
        verdicts = pool.judge_all([(suite.tasks[i], c) for (i, _), c in zip(chunk, completions, strict=True)])
        for (index, _), completion, verdict in zip(chunk, completions, verdicts, strict=True):
            task, num_tokens = suite.tasks[index], len(prompts[index])
            judged = _measured(suite, task, completion, verdict, num_tokens, latency_s, price)
            answers[index].append(judged)
            num_passed += judged.passed
        if progress is not None:
            done = start + len(chunk)
            progress(f"evaluate {suite.name}", done, len(jobs), {"passed": num_passed / done})
    return answers


def row_seed(seed: int, task_id: str, sample: int) -> int:
    """A 63-bit seed from what the answer is, not from where it stands in a batch."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{task_id}/{sample}".encode()).digest()[:8]) >> 1


def _measured(
    suite: Suite,
    task: Task,
    completion: Completion,
    verdict: Verdict,
    num_prompt_tokens: int,
    latency_s: float,
    price: Price | None,
) -> SampleResult:
    measures: dict[str, float | None] = {"accuracy": float(verdict.passed) if verdict.is_graded else None}
    measures |= verdict.measures
    if suite.measure is not None and verdict.is_graded:
        measures |= suite.measure(task, completion, verdict)
    odd = [name for name, value in measures.items() if value is not None and not math.isfinite(value)]
    if odd:
        raise VerifierError(f"measure `{odd[0]}` of suite {suite.name} is {measures[odd[0]]}", where=f"task {task.id}")
    num_tokens, num_calls = len(completion.token_ids), completion.text.count("<tool_call>")
    return SampleResult(
        text=completion.text,
        finish_reason=completion.finish_reason,
        state=verdict.state,
        passed=verdict.passed,
        score=verdict.score,
        reasons=verdict.reasons,
        measures=measures,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=num_tokens,
        latency_s=latency_s,
        cost=price.cost(num_prompt_tokens=num_prompt_tokens, num_tokens=num_tokens, num_calls=num_calls)
        if price
        else None,
    )


def _item(task: Task, samples: Sequence[SampleResult]) -> ItemResult:
    slices: Mapping[str, str] = dict(task.slices)
    question = task.prompt[-1].content if task.prompt else ""
    return ItemResult(
        id=task.id,
        slices=slices,
        question=question,
        samples=tuple(samples),
        cluster=task.cluster or task.id,
        prompt=task.prompt,
        tools=tuple(tool["function"]["name"] for tool in task.tools),
    )


def _surroundings(template: ChatTemplate, suite: Suite) -> dict[str, Any]:
    tools = {tool["function"]["name"]: tool for task in suite.tasks for tool in task.tools}
    return {"template": dict(template.lock), "tools": tools, "index": {"digest": suite.index_digest}}


@functools.cache
def _code_digest() -> str:
    """Identity of the code that decides an answer's numbers, so that a cache never outlives a change of it."""
    package = Path(__file__).parent.parent
    files = sorted(path for name in _CODE for path in (package / name).rglob("*.py"))
    return digest_json([[path.relative_to(package).as_posix(), digest_file(path)] for path in files])
