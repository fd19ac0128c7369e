"""Learning from preferences: pairs → render → reference log-probabilities, descended by DPO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from strop.batches import collate
from strop.data import preflight
from strop.data.order import batches_from
from strop.methods.reference import reference_logprobs
from strop.methods.rows import first_step, samples_digest
from strop.objectives import DPO
from strop.types import Batch, Cursor, Preference, Progress, Sample, Stream

if TYPE_CHECKING:
    from strop.models import Policy


def dpo(
    policy: Policy,
    preferences: Sequence[Preference],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    batch_size: int = 8,
    max_length: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Stream, DPO]:
    """The stream and objective of direct preference optimization, ``batch_size`` pairs a step.

    The reference is the policy as it stands at this call; its log-probabilities are computed once, and kept in the
    folder ``cache`` if one is given. Call it before a checkpoint is loaded into the policy. Cursor: the number of steps
    done, and the identity of pairs, order and reference.
    *Source*: the objective's file. Raises: DataError for what the pre-flight refuses, MismatchError for a cache or (in
    the stream) a cursor of another reference or other pairs.
    """
    objective = DPO(beta=beta, label_smoothing=label_smoothing)
    length = max_length or policy.max_length
    checked = preflight(preferences, policy.template, max_length=length, kind="dpo")
    checked.require()
    sides = checked.samples
    logprobs = reference_logprobs(policy, sides, cache, progress)
    samples = [
        _with_reference(side, index, ref_logprobs)
        for index, (side, ref_logprobs) in enumerate(zip(sides, logprobs, strict=True))
    ]
    identity = {
        "rows": samples_digest(sides),
        "reference": policy.digest(),
        "batch_size": batch_size,
        "seed": seed,
    }

    def stream(policy: Policy, start: Cursor | None = None) -> Iterator[Batch]:
        for step, pairs in batches_from(first_step(start, identity), len(preferences), batch_size, seed=seed):
            chosen_and_rejected = [samples[2 * pair + side] for pair in pairs for side in (0, 1)]
            yield collate(chosen_and_rejected, cursor={**identity, "step": step + 1})

    return stream, objective


def _with_reference(sample: Sample, index: int, ref_logprobs: Sequence[float]) -> Sample:
    """The side of pair ``index // 2``: chosen when ``index`` is even."""
    return replace(
        sample,
        streams={"ref_logprobs": ref_logprobs},
        facts={"group_ids": index // 2, "preferred": float(index % 2 == 0)},
    )
