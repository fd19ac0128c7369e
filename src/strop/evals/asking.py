"""Putting tasks to a sampler and judging what comes back: one chunk of requests at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from strop.digests import digest_bytes
from strop.errors import VerifierError
from strop.evals.results import SampleResult
from strop.evals.store import Place
from strop.evals.suite import Suite
from strop.types import Completion, Sampler, SamplingParams, Task, Verdict
from strop.verifiers.pool import GradingPool

if TYPE_CHECKING:
    from strop.chat import ChatTemplate


class Job(NamedTuple):
    """One answer that is wanted."""

    task: Task
    sample: int
    """Its number among the samples of the task."""
    place: Place
    """Where it is kept."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A model that answers a suite, with who judges it."""

    sampler: Sampler
    template: ChatTemplate
    suite: Suite
    pool: GradingPool
    params: SamplingParams

    def __call__(self, jobs: Sequence[Job]) -> list[tuple[Place, SampleResult]]:
        """The judged answer of each job; the requests go out together, and that is what their latency is."""
        prompts = self._prompts(jobs)
        seeds = [row_seed(self.params.seed, job.task.id, job.sample) for job in jobs]
        began = time.monotonic()
        completions = [_storable(one) for one in self.sampler.sample(prompts, self.params, seeds=seeds)]
        latency_s = time.monotonic() - began
        verdicts = self.pool.judge_all([(job.task, one) for job, one in zip(jobs, completions, strict=True)])
        return [
            (job.place, _measured(self.suite, job.task, completion, verdict, len(prompt), latency_s))
            for job, prompt, completion, verdict in zip(jobs, prompts, completions, verdicts, strict=True)
        ]

    def _prompts(self, jobs: Sequence[Job]) -> list[tuple[int, ...]]:
        """Each job's prompt; several samples of one task are rendered once."""
        rendered: dict[str, tuple[int, ...]] = {}
        for job in jobs:
            if job.place[0] not in rendered:
                rendered[job.place[0]] = tuple(self.template.prompt_ids(job.task.prompt, job.task.tools))
        return [rendered[job.place[0]] for job in jobs]


def _storable(completion: Completion) -> Completion:
    """A server may answer with half a surrogate pair, which no file can hold: ``?`` stands for it."""
    try:
        completion.text.encode()
        return completion
    except UnicodeEncodeError:
        return replace(completion, text=completion.text.encode(errors="replace").decode())


def row_seed(seed: int, task_id: str, sample: int) -> int:
    """A 63-bit seed from what the answer is, not from where it stands in a batch."""
    return int(digest_bytes(f"{seed}/{task_id}/{sample}".encode())[:16], 16) >> 1


def _measured(
    suite: Suite, task: Task, completion: Completion, verdict: Verdict, num_prompt_tokens: int, latency_s: float
) -> SampleResult:
    measures: dict[str, float | None] = {"accuracy": float(verdict.passed) if verdict.is_graded else None}
    measures |= verdict.measures
    if suite.measure is not None and verdict.is_graded:
        measures |= suite.measure(task, completion, verdict)
    odd = [name for name, value in measures.items() if value is not None and not math.isfinite(value)]
    if odd:
        raise VerifierError(f"measure `{odd[0]}` of suite {suite.name} is {measures[odd[0]]}", where=f"task {task.id}")
    return SampleResult(
        text=completion.text,
        finish_reason=completion.finish_reason,
        state=verdict.state,
        passed=verdict.passed,
        score=verdict.score,
        reasons=verdict.reasons,
        measures=measures,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=len(completion.token_ids),
        latency_s=latency_s,
    )
