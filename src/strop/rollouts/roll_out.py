"""Tasks → completions → verdicts: what online learning trains on and evaluation counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from strop.errors import PromptError, VerifierError
from strop.sampling import row_seed
from strop.types import Completion, Progress, Rollout, Sampler, SamplingParams, Task, Verdict, Verifier
from strop.verifiers.pool import GradingPool
from strop.verifiers.readiness import require_ready

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

_ROWS_A_REQUEST = 1024  # enough for full batches of similar length, few enough that progress moves


def roll_out(
    sampler: Sampler,
    template: ChatTemplate,
    tasks: Sequence[Task],
    verifier: Verifier | GradingPool,
    params: SamplingParams,
    *,
    samples_per_task: int = 1,
    seed: int,
    progress: Progress | None = None,
) -> list[Rollout]:
    """``samples_per_task`` judged completions of every task, task by task.

    The row of sample j of task i draws from the seed (``seed``, i, j) and nothing else: a longer list or more samples
    leave the other rows as they were. ``params.seed`` is not used. Answers are judged by a ``GradingPool``: one that
    hangs or crashes the verifier delays nobody and is ``timeout`` or ``error``. Verdict states are kept as they are:
    what could not be graded is the caller's to count. Give an open pool to keep its workers from call to call.
    Raises: PromptError naming the task whose prompt does not fit, VerifierError for a score that is not finite, and
    whatever UserError a user's verifier raises.
    """
    if not isinstance(verifier, GradingPool):
        require_ready(verifier, tasks)
        with GradingPool(verifier) as pool:
            return roll_out(
                sampler,
                template,
                tasks,
                pool,
                params,
                samples_per_task=samples_per_task,
                seed=seed,
                progress=progress,
            )
    prompts = [template.prompt_ids(task.prompt, task.tools) for task in tasks]
    rows = [(i, j) for i in range(len(tasks)) for j in range(samples_per_task)]
    rollouts: list[Rollout] = []
    for start in range(0, len(rows), _ROWS_A_REQUEST):
        request = rows[start : start + _ROWS_A_REQUEST]
        completions = _sample(sampler, tasks, prompts, request, params, seed)
        verdicts = verifier.judge_all([(tasks[i], c) for (i, _), c in zip(request, completions, strict=True)])
        for (i, _), completion, verdict in zip(request, completions, verdicts, strict=True):
            _require_finite(verdict, verifier.verifier, tasks[i])
            rollouts.append(
                Rollout(task=tasks[i], prompt_ids=tuple(prompts[i]), completion=completion, verdict=verdict)
            )
        if progress is not None:
            progress("rollouts", len(rollouts), len(rows), dict(_rates(rollouts)))
    return rollouts


def _sample(
    sampler: Sampler,
    tasks: Sequence[Task],
    prompts: Sequence[Sequence[int]],
    rows: Sequence[tuple[int, int]],
    params: SamplingParams,
    seed: int,
) -> list[Completion]:
    seeds = [row_seed(seed, i, j) for i, j in rows]
    try:
        return sampler.sample([prompts[i] for i, _ in rows], params, seeds=seeds)
    except PromptError as error:
        task = tasks[rows[error.index][0]]
        where = f"task {task.id}" + (f" ({task.source})" if task.source else "")
        raise PromptError(error.what, index=error.index, where=where, why=error.why, do=error.do) from error


def _require_finite(verdict: Verdict, verifier: Verifier, task: Task) -> None:
    if verdict.score is not None and not math.isfinite(verdict.score):
        raise VerifierError(
            f"the verifier {verifier.name} gave the score {verdict.score}",
            where=f"task {task.id}",
            why="a score must be a finite number",
            do="return a number, or an ungraded state for what cannot be judged",
        )


def _rates(rollouts: Sequence[Rollout]) -> Iterator[tuple[str, float]]:
    graded = [rollout.verdict for rollout in rollouts if rollout.verdict.is_graded]
    if graded:
        yield "pass_rate", sum(verdict.passed for verdict in graded) / len(graded)
