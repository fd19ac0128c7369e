"""The gap between sampler and trainer: how far their log-probabilities of the same tokens differ, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from strop.batches import collate, completion_sample, sequence_lengths, stream_of, take
from strop.errors import GapError, RecipeError
from strop.sampling.seeds import row_seed
from strop.types import Batch, Sampler, SamplingParams, Task

if TYPE_CHECKING:
    from strop.models import Policy

MAX_GAP = {torch.float32: 0.05, torch.bfloat16: 1.0, torch.float16: 0.5}
"""Nats that one token's log-probabilities may differ by before the alarm, by the dtype of the policy.

Rounding alone gives about 1e-5 in float32, and in bfloat16 some tenths at an unlikely token.
"""
ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.2}
"""What a calibration accepts as rounding, by the dtype of the policy."""
_EXPLAINED = 0.1
"""A cause is named if it leaves less than this share of the gap."""
_MAX_DIAGNOSED_TOKENS = 512
_NUM_REPEATED = 8


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far sampler and trainer are apart on ``num_tokens`` sampled tokens, in nats a token."""

    num_tokens: int
    mean: float
    """Of |trainer − sampler|."""
    max: float
    bias: float
    """Mean of trainer − sampler: clearly negative where the sampler cuts its distribution."""
    k3: float
    """Estimate of KL(sampler ‖ trainer), the mean of r − 1 − log r with r = trainer's probability over the sampler's.

    *Source*: Schulman 2020, "Approximating KL divergence"; never negative, unbiased for samples of the sampler."""
    worst: str
    """The row that has the largest."""

    @property
    def metrics(self) -> dict[str, float]:
        """What a training step logs."""
        return {
            "sampler_logprob_gap": self.mean,
            "sampler_logprob_gap_max": self.max,
            "sampler_logprob_bias": self.bias,
            "sampler_kl_k3": self.k3,
        }


@torch.no_grad()
def measure_gap(policy: Policy, batch: Batch, *, temperature: float) -> Gap:
    """The gap on the trained tokens of ``batch``, whose stream ``sampler_logprobs`` the sampler reported.

    A batch without trained tokens has the gap 0. A log-probability that is not finite makes an infinite gap.
    """
    if not bool(batch.loss_mask.any()):
        return Gap(num_tokens=0, mean=0.0, max=0.0, bias=0.0, k3=0.0, worst="")
    mask = batch.loss_mask.cpu()
    trainer = policy.forward(batch, temperature=temperature).logprobs.cpu()[mask].double()
    log_ratio = trainer - stream_of(batch, "sampler_logprobs").cpu()[mask].double()
    log_ratio = log_ratio.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
    size = log_ratio.abs()
    return Gap(
        num_tokens=len(size),
        mean=size.mean().item(),
        max=size.max().item(),
        bias=log_ratio.mean().nan_to_num(nan=math.inf).item(),
        k3=(log_ratio.exp() - 1 - log_ratio).mean().item(),
        worst=batch.names[int(batch.sequence_ids.cpu()[mask][size.argmax()])],
    )


@dataclass(frozen=True, kw_only=True)
class GapMonitor:
    """Watches the gap of every step; above ``max_gap`` it raises, naming the likely cause.

    ``max_gap`` is the largest |difference| of one token, in nats; None takes ``MAX_GAP`` of the policy's dtype (0.05
    in float32), ``math.inf`` only measures. ``num_groups`` bounds the cost: that many groups of each batch are
    recomputed, one forward without gradient. Only groups with trained tokens count, and the place of the first one
    depends on the batch's tokens alone, so that over the steps every place is watched.
    """

    max_gap: float | None = None
    num_groups: int = 1

    def __post_init__(self) -> None:
        if self.max_gap is not None and not self.max_gap > 0:
            raise RecipeError(f"max_gap is {self.max_gap}", do="use nats above 0, or leave it out")
        if self.num_groups < 1:
            raise RecipeError(f"num_groups is {self.num_groups}", do="use at least 1")

    def __call__(self, policy: Policy, batch: Batch, *, temperature: float) -> dict[str, float]:
        """The metrics of this step. Raises: GapError above the threshold."""
        watched = _watched_groups(batch, self.num_groups)
        gap = measure_gap(policy, watched, temperature=temperature)
        limit = threshold(policy) if self.max_gap is None else self.max_gap
        if gap.max > limit:
            raise _alarm(policy, watched, temperature, gap, limit)
        return gap.metrics


def threshold(policy: Policy) -> float:
    """The largest gap that a policy of this dtype may have without being told otherwise."""
    return MAX_GAP.get(policy.dtype, MAX_GAP[torch.float32])


def _watched_groups(batch: Batch, num_groups: int) -> Batch:
    if "group_ids" not in batch.facts or not bool(batch.loss_mask.any()):
        return batch
    ids = batch.facts["group_ids"].tolist()
    trained = set(batch.sequence_ids[batch.loss_mask].tolist())
    groups = list(dict.fromkeys(group for row, group in enumerate(ids) if row in trained))
    first = int(batch.token_ids.sum()) % len(groups)
    chosen = set((groups + groups)[first : first + num_groups])
    return take(batch, [row for row, group in enumerate(ids) if group in chosen])


def _alarm(policy: Policy, batch: Batch, temperature: float, gap: Gap, limit: float) -> GapError:
    return GapError(
        f"sampler and trainer differ by {gap.max:.3g} nats at one token, {gap.mean:.3g} on average",
        where=f"row {gap.worst}, {gap.num_tokens} tokens compared",
        why=f"at most {limit:g} is allowed, rounding is far less; {diagnose(policy, batch, temperature=temperature)}",
        do="mend the sampler; if the difference is understood and wanted, raise max_gap",
    )


# ---------------------------------------------------------------------------------------------------------- calibration


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A training step at learning rate 0: what was sampled, recomputed by the trainer, and how far the two differ."""

    gap: Gap
    limit: float
    """What is taken for rounding, in nats at one token."""
    temperature: float
    num_completions: int
    num_truncated: int
    repeat_share: float
    """Of the first completions drawn once more with their seeds, the share that came out token for token the same."""
    cause: str
    """The likely cause of a gap beyond rounding; empty if there is none."""

    @property
    def is_rounding(self) -> bool:
        """Whether sampler and trainer are the same model as far as this sample shows."""
        return self.gap.num_tokens > 0 and self.gap.max <= self.limit

    def require(self) -> Calibration:
        """Itself. Raises: GapError if the gap is more than rounding."""
        if not self.is_rounding:
            raise GapError(
                f"sampler and trainer differ by {self.gap.max:.3g} nats at one token, {self.gap.mean:.3g} on average",
                where=f"row {self.gap.worst}, {self.gap.num_tokens} tokens of {self.num_completions} completions",
                why=f"rounding is at most {self.limit:g}; {self.cause}",
                do="mend the sampler before training with it",
            )
        return self


def calibrate(
    policy: Policy,
    sampler: Sampler,
    tasks: Sequence[Task],
    *,
    params: SamplingParams | None = None,
    samples_per_task: int = 1,
    seed: int = 0,
    limit: float | None = None,
) -> Calibration:
    """What a step at learning rate 0 shows: ``sampler``'s log-probabilities against ``policy``'s, without an update.

    Any sampler may be held against the policy, the embedded one or a server's. ``limit`` in nats is what passes for
    rounding; None takes ``ROUNDING`` of the policy's dtype. Greedy decoding is compared at temperature 1.
    Raises: RecipeError without tasks, and whatever the sampler raises.
    """
    params = params or SamplingParams()
    if not tasks or samples_per_task < 1:
        raise RecipeError(
            f"calibration on {len(tasks)} tasks with {samples_per_task} samples each", do="give at least one of each"
        )
    rows = [(i, j) for i in range(len(tasks)) for j in range(samples_per_task)]
    prompts = [policy.template.prompt_ids(task.prompt, task.tools) for task in tasks]
    asked, seeds = [prompts[i] for i, _ in rows], [row_seed(seed, i, j) for i, j in rows]
    completions = sampler.sample(asked, params, seeds=seeds)
    again = sampler.sample(asked[:_NUM_REPEATED], params, seeds=seeds[:_NUM_REPEATED])
    samples = [
        completion_sample(f"{tasks[i].id}#{j}", prompts[i], completion)
        for (i, j), completion in zip(rows, completions, strict=True)
    ]
    batch, temperature = collate(samples), params.temperature or 1.0
    gap = measure_gap(policy, batch, temperature=temperature)
    limit = ROUNDING.get(policy.dtype, ROUNDING[torch.float32]) if limit is None else limit
    return Calibration(
        gap=gap,
        limit=limit,
        temperature=temperature,
        num_completions=len(samples),
        num_truncated=sum(completion.is_truncated for completion in completions),
        repeat_share=sum(one.token_ids == other.token_ids for one, other in zip(again, completions)) / len(again),
        cause="" if gap.max <= limit else diagnose(policy, batch, temperature=temperature),
    )


# ------------------------------------------------------------------------------------------------------------ diagnosis


@torch.no_grad()
def diagnose(policy: Policy, batch: Batch, *, temperature: float) -> str:
    """The likely cause of the gap, in words.

    Each hypothesis predicts the sampler's log-probabilities from the policy's logits: another temperature, top-p,
    top-k, or log-probabilities that are one token off. The one that leaves the least of the gap is named if it leaves
    less than a tenth.
    """
    batch = take(batch, _few_rows(batch))
    mask = batch.loss_mask.cpu()
    sampler = stream_of(batch, "sampler_logprobs").cpu()[mask].double()
    if not bool(sampler.isfinite().all()):
        return "the sampler reports log-probabilities that are not finite"
    logits = policy.forward(batch, frozenset({"logprobs", "logits"})).logits
    assert logits is not None
    logits, tokens = logits.cpu().double(), batch.token_ids.cpu()[mask]
    expected = _logprobs(logits, tokens, temperature)
    total = (expected - sampler).abs().mean().item()
    left, name = min(_hypotheses(logits, tokens, sampler, expected, temperature))
    if left < _EXPLAINED * total:
        return f"likely {name} (that leaves a mean gap of {left:.1e} of {total:.1e})"
    return (
        "likely other weights than the policy's: stale ones, an adapter that is missing or not the same, another base,"
        " or a quantised or lower-precision copy; no temperature, top_p, top_k or shift explains the gap"
    )


def _few_rows(batch: Batch) -> list[int]:
    """The first rows up to a bound of trained tokens, at least one with any."""
    trained = torch.bincount(batch.sequence_ids.cpu()[batch.loss_mask.cpu()], minlength=batch.num_sequences).tolist()
    rows: list[int] = []
    total = 0
    for row, number in enumerate(trained):
        if number and (not rows or total + number <= _MAX_DIAGNOSED_TOKENS):
            rows.append(row)
            total += number
    return rows or list(range(len(sequence_lengths(batch))))


def _logprobs(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).log_softmax(-1).gather(-1, tokens[:, None])[:, 0]


def _hypotheses(
    logits: Tensor, tokens: Tensor, sampler: Tensor, expected: Tensor, temperature: float
) -> Iterator[tuple[float, str]]:
    """What each possible cause leaves of the gap, a mean |difference|, with its name."""
    fitted = _fit_temperature(logits, tokens, sampler)
    if abs(math.log(fitted / temperature)) > 0.01:
        left = (_logprobs(logits, tokens, fitted) - sampler).abs().mean().item()
        is_raw = abs(math.log(fitted)) < 0.01
        hint = ", as of a server that reports them before temperature and cuts (vLLM's raw_logprobs)" if is_raw else ""
        yield left, f"another temperature: {fitted:.3g} fits, {temperature:.3g} was asked for{hint}"
    yield from _cuts(logits / temperature, tokens, sampler)
    if len(tokens) > 2:
        yield (expected[:-1] - sampler[1:]).abs().mean().item(), "log-probabilities that are one token late"
        yield (expected[1:] - sampler[:-1]).abs().mean().item(), "log-probabilities that are one token early"


def _fit_temperature(logits: Tensor, tokens: Tensor, sampler: Tensor) -> float:
    """The temperature whose log-probabilities come closest to the sampler's, by a search on ever finer grids."""

    def left(value: float) -> float:
        return (_logprobs(logits, tokens, value) - sampler).abs().mean().item()

    best, step = 1.0, 2.0
    for _ in range(32):
        best = min((best / step, best, best * step), key=left)
        step = step**0.75
    return best


def _cuts(scores: Tensor, tokens: Tensor, sampler: Tensor) -> Iterator[tuple[float, str]]:
    """Top-p and top-k: each keeps the likeliest tokens, so that all kept ones gain the same −log of the mass kept."""
    logprobs = scores.log_softmax(-1)
    own = logprobs.gather(-1, tokens[:, None])[:, 0]
    ordered = logprobs.exp().sort(-1, descending=True).values
    mass = ordered.cumsum(-1)
    implied = (own - sampler).exp().clamp(max=1.0)
    for p in sorted({*(i / 200 for i in range(20, 200)), round(implied.min().item(), 6)}):
        place = (mass < p).sum(-1, keepdim=True).clamp(max=mass.shape[-1] - 1)
        yield _left(own, mass.gather(-1, place)[:, 0], sampler), f"top_p = {p:.3g} in the sampler"
    for k in (1, 2, 3, 4, 5, 8, 10, 16, 20, 32, 40, 50, 64, 100, 128, 200, 256, 512, 1024):
        if k < mass.shape[-1]:
            yield _left(own, mass[:, k - 1], sampler), f"top_k = {k} in the sampler"


def _left(own: Tensor, kept: Tensor, sampler: Tensor) -> float:
    return (own - kept.log() - sampler).abs().mean().item()
