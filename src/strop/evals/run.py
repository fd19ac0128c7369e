"""Evaluating a model on a suite: sample, judge, measure, keep."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.digests import digest_file, digest_json
from strop.errors import RecipeError
from strop.evals.asking import Asking, Job
from strop.evals.costs import Tally, cost_of
from strop.evals.metrics import Price
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.evals.store import ItemStore
from strop.evals.suite import Suite, task_digest
from strop.types import Progress, Sampler, SamplingParams, Task
from strop.verifiers.pool import GradingPool
from strop.verifiers.readiness import require_ready

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

_CODE = ("chat", "sampling", "verifiers", "worlds", "evals")
_AFTERWARDS = ("drift", "gating", "judging", "lm_eval", "people")
"""Parts of evals that look at answers which are there, and decide none."""


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
    ``error`` and delays nobody.

    With ``folder`` every answer is kept in ``folder/<key>`` as soon as its requests are judged, and taken from there
    when model, template, task, parameters, verifier, measure and code are the same: a run that was killed asks only
    for what is missing, and so does one with more tasks or more samples. ``progress`` is told the share that
    ``passed``, ``items_per_s`` of what was asked now, and the ``cost`` so far where there is a price.
    Raises: RecipeError for several greedy samples; the UserError that the verifier raises, before anything is sampled
    if what it needs is not on this machine; OutputError where answers cannot be kept.
    """
    if samples_per_task < 1 or (samples_per_task > 1 and params.temperature == 0):
        raise RecipeError(
            f"{samples_per_task} samples a task at temperature {params.temperature:g}",
            why="greedy decoding gives the same answer every time" if samples_per_task > 1 else "there would be none",
            do="set samples_per_task = 1, or a temperature above 0",
        )
    digests = _digests(suite, template, model_digest)
    # As they will be read back: tuples become lists and integer keys strings.
    settings = json.loads(json.dumps(asdict(params)))
    store = ItemStore(folder / _key(suite, digests, settings) if folder is not None else None)
    jobs = [
        Job(task, sample, (digest, sample))
        for task, digest in zip(suite.tasks, map(task_digest, suite.tasks), strict=True)
        for sample in range(samples_per_task)
    ]
    missing = [job for job in jobs if store.get(job.place) is None]
    if missing:
        require_ready(suite.verifier, suite.tasks)
        tally = Tally(suite=suite.name, total=len(jobs), price=price, progress=progress)
        tally.add([sample for job in jobs if (sample := store.get(job.place)) is not None], num_asked=0)
        with GradingPool(suite.verifier) as pool:
            ask = Asking(sampler=sampler, template=template, suite=suite, pool=pool, params=params)
            for start in range(0, len(missing), num_requests):
                chunk = missing[start : start + num_requests]
                store.keep(ask(chunk))
                tally.add([store.answer(job.place) for job in chunk], num_asked=len(chunk))
    answers = [_priced(store.answer(job.place), price) for job in jobs]
    return SuiteResult(
        name=suite.name,
        digests=digests,
        params={**settings, "samples_per_task": samples_per_task},
        metrics=dict(suite.metrics),
        version=suite.version,
        surroundings=_surroundings(template, suite),
        items=tuple(
            _item(task, answers[index * samples_per_task : (index + 1) * samples_per_task])
            for index, task in enumerate(suite.tasks)
        ),
    )


def _digests(suite: Suite, template: ChatTemplate, model_digest: str) -> dict[str, str]:
    return {
        "model": model_digest,
        "template": template.digest,
        "tokenizer": template.lock["tokenizer"],
        "tools": suite.tools_digest,
        "index": suite.index_digest,
        "verifier": suite.verifier.digest,
        "suite": suite.digest,
    }


def _key(suite: Suite, digests: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Where the answers are kept: by everything that decides one, beside its task and its number."""
    shared = {name: digests[name] for name in ("model", "template", "tokenizer", "index", "verifier")}
    return digest_json([shared, settings, suite.measure_name, _code_digest()])


def _priced(sample: SampleResult, price: Price | None) -> SampleResult:
    return sample if price is None else replace(sample, cost=cost_of(sample, price))


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
    files = sorted(path.relative_to(package) for name in _CODE for path in (package / name).rglob("*.py"))
    deciding = [path for path in files if not (path.parts[0] == "evals" and path.parts[1] in _AFTERWARDS)]
    return digest_json([[path.as_posix(), digest_file(package / path)] for path in deciding])
