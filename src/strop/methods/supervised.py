"""Supervised fine-tuning: conversations → render → mask → batches, descended by cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from strop.batches import collate
from strop.data import preflight
from strop.data.mixture import Mixture, realised
from strop.data.order import batches_from
from strop.methods.rows import first_step, samples_digest
from strop.objectives import CrossEntropy
from strop.types import Batch, Conversation, Cursor, Sample, Stream

if TYPE_CHECKING:
    from strop.models import Policy


def sft(
    policy: Policy,
    conversations: Sequence[Conversation],
    *,
    batch_size: int = 16,
    max_length: int | None = None,
    turns: Literal["all", "last"] = "all",
    seed: int = 0,
    mixture: Mixture | None = None,
) -> tuple[Stream, CrossEntropy]:
    """The stream and objective of supervised fine-tuning on the assistant's tokens.

    Every pass sees each row once, in an order that follows from ``seed`` and the pass; ``max_length`` is the model's
    context if None. With a ``mixture`` the rows' sources come in its shares of the trained tokens. Cursor: the number
    of steps done, and the identity of rows and order; of a mixture also what each source has given.
    *Source*: the objective's file. Raises: DataError for what the pre-flight refuses, in the stream MismatchError for a
    cursor of other rows.
    """
    length = max_length or policy.max_length
    checked = preflight(conversations, policy.template, max_length=length, kind="sft", turns=turns)
    checked.require()
    samples = checked.samples
    identity = {"rows": samples_digest(samples), "batch_size": batch_size, "seed": seed}

    def stream(policy: Policy, start: Cursor | None = None) -> Iterator[Batch]:
        for step, rows in batches_from(first_step(start, identity), len(samples), batch_size, seed=seed):
            yield collate([samples[row] for row in rows], cursor={**identity, "step": step + 1})

    if mixture is not None:
        assert sum(mixture.sizes) == len(samples), f"{mixture.sizes} rows, not {len(samples)}"
        return _mixed(samples, mixture, batch_size, seed, identity), CrossEntropy()
    return stream, CrossEntropy()


def _mixed(samples: Sequence[Sample], mixture: Mixture, batch_size: int, seed: int, identity: Cursor) -> Stream:
    weights = [sum(sample.loss_mask) for sample in samples]
    own = {**identity, "sizes": list(mixture.sizes)}

    def stream(policy: Policy, start: Cursor | None = None) -> Iterator[Batch]:
        first = first_step(start, own)
        for step, (rows, stand) in enumerate(mixture.steps(weights, batch_size, seed=seed, start=start), first + 1):
            cursor = {**own, **stand, "step": step}
            yield collate([samples[row] for row in rows], cursor=cursor, metrics=realised(stand))

    return stream
