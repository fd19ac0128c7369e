"""Reinforcement learning from verifiable rewards: tasks → rollouts → verdicts → group advantages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Literal

from strop.data import preflight
from strop.errors import RecipeError
from strop.methods.groups import group_batch
from strop.methods.rows import endless_rows, first_step, tasks_digest
from strop.objectives import PolicyGradient
from strop.rollouts import roll_out
from strop.sampling import TorchSampler, row_seed
from strop.sampling.gap import GapMonitor
from strop.sampling.params import reshaping
from strop.types import Batch, Cursor, SamplingParams, Stream, Task, Verifier
from strop.verifiers import Audited, GradingPool, require_audit
from strop.verifiers.readiness import require_ready

if TYPE_CHECKING:
    from strop.models import Policy

Aggregate = Literal["token_mean", "sequence_mean", "sequence_sum", "constant"]


def grpo(
    policy: Policy,
    tasks: Sequence[Task],
    verifier: Verifier,
    *,
    group_size: int = 8,
    prompts_per_step: int = 16,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    scale: Literal["std"] | None = "std",
    aggregate: Aggregate = "sequence_mean",
    seed: int = 0,
    max_gap: float | None = None,
    audit: Audited | None = None,
    unaudited: str = "",
) -> tuple[Stream, PolicyGradient]:
    """The stream and objective of group-relative policy optimization, one update a batch of rollouts.

    *Source*: Shao et al. 2024 (arXiv:2402.03300), section 4.1; ``scale=None`` leaves the standard deviation out.
    Every step draws ``group_size`` completions of each of ``prompts_per_step`` tasks from the policy as it is then. The
    samples are the policy's own, so the ratio is 1 at the update and the clip has nothing to do: its range is not a
    setting here. ``aggregate="constant"`` divides by ``max_new_tokens``.
    Every step compares the sampler's log-probabilities of one group with the trainer's and logs the gap; beyond
    ``max_gap`` nats at one token, which is 0.05 in float32 unless given, it stops with the likely cause (``GapError``).
    ``audit`` is the verifier's, or ``unaudited`` says why there is none; the reason stays in every checkpoint.
    Raises: VerifierError without an audit or with a failed one, DataError for what the pre-flight refuses, RecipeError
    for impossible settings.
    """
    objective = PolicyGradient(
        aggregate=aggregate,
        constant_length=max_new_tokens if aggregate == "constant" else None,
        temperature=temperature,
    )
    if group_size < 2:
        raise RecipeError(
            f"group_size is {group_size}",
            why="a sample is compared with the others of its group",
            do="use at least 2, usually 8",
        )
    room = policy.max_length - max_new_tokens
    preflight(tasks, policy.template, max_length=room, kind="tasks").require()
    stream = GroupRollouts(
        tasks=tuple(tasks),
        verifier=verifier,
        params=SamplingParams(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed),
        group_size=group_size,
        prompts_per_step=prompts_per_step,
        scale=scale,
        audit=require_audit(verifier, audit, unaudited),
        monitor=GapMonitor(max_gap=max_gap),
    )
    return stream, objective


def dr_grpo(
    policy: Policy,
    tasks: Sequence[Task],
    verifier: Verifier,
    *,
    group_size: int = 8,
    prompts_per_step: int = 16,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
    max_gap: float | None = None,
    audit: Audited | None = None,
    unaudited: str = "",
) -> tuple[Stream, PolicyGradient]:
    """GRPO without the standard deviation and with the constant ``max_new_tokens`` in place of each answer's length.

    *Source*: Liu et al. 2025 (arXiv:2503.20783), section 3.2. Everything else as in ``grpo``.
    """
    return grpo(
        policy,
        tasks,
        verifier,
        group_size=group_size,
        prompts_per_step=prompts_per_step,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        scale=None,
        aggregate="constant",
        seed=seed,
        max_gap=max_gap,
        audit=audit,
        unaudited=unaudited,
    )


@dataclass(frozen=True, kw_only=True)
class GroupRollouts:
    """The stream of judged groups: every batch is drawn from the policy when it is pulled.

    Cursor: the number of steps done, and the identity of tasks, verifier and settings. Step n draws from the seed
    (``params.seed``, n), so a resumed run with the same weights repeats the very same rollouts.
    """

    tasks: tuple[Task, ...]
    verifier: Verifier
    params: SamplingParams
    group_size: int
    prompts_per_step: int
    scale: Literal["std"] | None
    audit: str
    monitor: GapMonitor = field(default_factory=GapMonitor)

    def __post_init__(self) -> None:
        if found := reshaping(self.params):
            raise RecipeError(
                f"rollouts are truncated: {', '.join(found)}",
                why="the trainer's log-probabilities are of the whole vocabulary, so every ratio would be off",
                do="leave it out; lower the temperature instead",
            )

    def __call__(self, policy: Policy, start: Cursor | None = None) -> Iterator[Batch]:
        """The batches that follow ``start``. Raises: MismatchError, VerifierError when a whole step is ungraded,
        GapError when sampler and trainer disagree."""
        require_ready(self.verifier, self.tasks)
        with GradingPool(self.verifier) as pool:
            yield from self._batches(policy, start, pool)

    def _batches(self, policy: Policy, start: Cursor | None, pool: GradingPool) -> Iterator[Batch]:
        identity = self._identity()
        sampler = TorchSampler(policy)
        for step in count(first_step(start, identity)):
            rows = endless_rows(step, len(self.tasks), self.prompts_per_step, self.params.seed)
            before = sampler.throughput.num_tokens, sampler.throughput.seconds
            rollouts = roll_out(
                sampler,
                policy.template,
                [self.tasks[row] for row in rows],
                pool,
                self.params,
                samples_per_task=self.group_size,
                seed=row_seed(self.params.seed, step),
            )
            num_tokens, seconds = sampler.throughput.num_tokens - before[0], sampler.throughput.seconds - before[1]
            batch = group_batch(rollouts, self.group_size, scale=self.scale, cursor={**identity, "step": step + 1})
            metrics = {
                **batch.metrics,
                **self.monitor(policy, batch, temperature=self.params.temperature),
                "generated_tokens": float(num_tokens),
                "generated_tokens_per_second": num_tokens / seconds,
            }
            yield replace(batch, metrics=metrics)

    def _identity(self) -> Mapping[str, object]:
        return {
            "tasks": tasks_digest(self.tasks),
            "verifier": self.verifier.digest,
            "audit": self.audit,
            "settings": [
                self.group_size,
                self.prompts_per_step,
                self.params.max_new_tokens,
                self.params.temperature,
                self.params.seed,
                self.scale,
            ],
        }
