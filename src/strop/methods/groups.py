"""From judged groups of rollouts to one batch: advantages, masks, and what is worth watching."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from strop.batches import collate, completion_sample
from strop.credit import group_advantages, is_informative
from strop.errors import VerifierError
from strop.types import Batch, Cursor, Rollout, Sample


def group_batch(
    rollouts: Sequence[Rollout], group_size: int, *, scale: Literal["std"] | None, cursor: Cursor | None = None
) -> Batch:
    """The batch of the graded rollouts; consecutive runs of ``group_size`` are the samples of one prompt.

    Every completion token is trained, the stop token included; a truncated completion has none and says so in
    ``is_truncated``. Streams ``advantages`` (the sample's, on each of its tokens) and ``sampler_logprobs``, both 0 on
    the prompt; facts ``group_ids``, ``rewards``, ``is_truncated``. What could not be graded is left out and counted in
    the metrics. Groups without differences stay: their gradient is zero, but they belong to the denominators.
    Raises: VerifierError if nothing was graded.
    """
    is_graded = torch.tensor([rollout.verdict.is_graded for rollout in rollouts])
    if not bool(is_graded.any()):
        raise _all_ungraded(rollouts)
    rewards = torch.tensor([_reward(rollout) for rollout in rollouts], dtype=torch.float32)
    group_ids = torch.arange(len(rollouts)) // group_size
    advantages = group_advantages(rewards, group_ids, scale=scale, is_graded=is_graded)
    informative = is_informative(rewards, group_ids, is_graded=is_graded)
    samples = [
        _sample(rollout, advantages[i].item(), i // group_size, f"{rollout.task.id}#{i % group_size}")
        for i, rollout in enumerate(rollouts)
        if rollout.verdict.is_graded
    ]
    return collate(samples, cursor=cursor, metrics=_measured(rollouts, is_graded, informative))


def _reward(rollout: Rollout) -> float:
    score = rollout.verdict.score
    return float("nan") if score is None else float(score)


def _sample(rollout: Rollout, advantage: float, group_id: int, name: str) -> Sample:
    sample = completion_sample(name, rollout.prompt_ids, rollout.completion)
    return replace(
        sample,
        streams={**sample.streams, "advantages": [advantage if is_new else 0.0 for is_new in sample.loss_mask]},
        facts={
            "group_ids": group_id,
            "rewards": _reward(rollout),
            "is_truncated": float(rollout.completion.is_truncated),
        },
    )


def _measured(rollouts: Sequence[Rollout], is_graded: Tensor, informative: Tensor) -> dict[str, float]:
    """Rates over the graded rollouts; lengths and truncation over all of them; zero variance over the groups."""
    graded = [rollout for rollout in rollouts if rollout.verdict.is_graded]
    ungraded = Counter(rollout.verdict.state for rollout in rollouts if not rollout.verdict.is_graded)
    return {
        "reward": sum(map(_reward, graded)) / len(graded),
        "pass_rate": sum(rollout.verdict.passed for rollout in graded) / len(graded),
        "graded_share": len(graded) / len(rollouts),
        "truncated_share": sum(r.completion.is_truncated for r in rollouts) / len(rollouts),
        "completion_length": sum(len(r.completion.token_ids) for r in rollouts) / len(rollouts),
        "zero_variance_share": 1 - informative.float().mean().item(),
        **{f"ungraded_{state}": float(number) for state, number in ungraded.items()},
    }


def _all_ungraded(rollouts: Sequence[Rollout]) -> VerifierError:
    first = rollouts[0].verdict
    return VerifierError(
        f"none of the {len(rollouts)} rollouts of a step could be graded",
        where=f"task {rollouts[0].task.id}: {first.state} {'; '.join(first.reasons)}".rstrip(),
        why="what is ungraded is no reward, and without one there is nothing to learn",
        do="mend the verifier or its surroundings; the last checkpoint is kept",
    )
