"""What the objectives that learn from preference pairs share: who stands against whom, and what is measured of it.

A pair is two sequences that stand next to each other, in either order, under one id. Reads the facts ``group_ids [S]``
(one id a pair) and ``preferred [S]`` (1 or 0). A pair with an answer that has no trained token counts nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from strop.batches import fact_of, stream_of
from strop.segments import segment_count, segment_mean, segment_sum
from strop.types import Batch, Loss, Outputs

Reduction = Literal["mean", "sum"]


def sequence_sums(values: Tensor, batch: Batch) -> Tensor:
    """Σ_t m_t v_t of every sequence: ``[N]`` → ``[S]``."""
    return segment_sum(values * batch.loss_mask, batch.sequence_ids, batch.num_sequences)


def sequence_means(values: Tensor, batch: Batch) -> Tensor:
    """Σ_t m_t v_t / Σ_t m_t of every sequence: ``[N]`` → ``[S]``; 0 for one without trained tokens."""
    return segment_mean(values, batch.loss_mask, batch.sequence_ids, batch.num_sequences)


REDUCTIONS: Mapping[Reduction, Callable[[Tensor, Batch], Tensor]] = {"mean": sequence_means, "sum": sequence_sums}


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The P pairs of a batch under one score a sequence."""

    scores: Tensor
    """[S], what is compared; differentiable in the policy's log-probabilities."""
    logps: Tensor
    """[S], the policy's log-probabilities under the same reduction."""
    chosen: Tensor
    """[P] int64, the sequences that were preferred."""
    rejected: Tensor
    """[P] int64, those that they were preferred to."""

    @property
    def margin(self) -> Tensor:
        """h = score(chosen) - score(rejected), [P]."""
        return self.scores[self.chosen] - self.scores[self.rejected]

    def loss(self, losses: Tensor, totals: Mapping[str, float], beta: float) -> Loss:
        """The batch's share of the mean of ``losses [P]`` over the step's pairs, with the metrics of a comparison.

        ``margin`` (h), ``accuracy`` (share with h > 0; a tie is half), ``logps_chosen`` and ``logps_rejected``,
        ``rewards_chosen`` and ``rewards_rejected`` (β times the score): means over the pairs. A margin that grows while
        ``logps_chosen`` falls is likelihood displacement.
        """
        num_pairs = max(totals["pairs"], 1.0)
        measured = {
            "margin": self.margin,
            "accuracy": (self.margin.sign() + 1) / 2,
            "logps_chosen": self.logps[self.chosen],
            "logps_rejected": self.logps[self.rejected],
            "rewards_chosen": beta * self.scores[self.chosen],
            "rewards_rejected": beta * self.scores[self.rejected],
        }
        metrics = {name: value.detach().sum() / num_pairs for name, value in measured.items()}
        return Loss(value=losses.sum() / num_pairs, metrics=metrics)


def against_reference(outputs: Outputs, batch: Batch, reduction: Reduction) -> Pairs:
    """The pairs under l(y) = log p(y) - log p_ref(y); reads the stream ``ref_logprobs [N]``, a constant."""
    reduce = REDUCTIONS[reduction]
    logps = reduce(outputs.logprobs, batch)
    chosen, rejected = sides(batch)
    scores = logps - reduce(stream_of(batch, "ref_logprobs").detach(), batch)
    return Pairs(scores=scores, logps=logps, chosen=chosen, rejected=rejected)


def without_reference(outputs: Outputs, batch: Batch, reduction: Reduction) -> Pairs:
    """The pairs under the policy's own log-probabilities, l(y) = log p(y)."""
    logps = REDUCTIONS[reduction](outputs.logprobs, batch)
    chosen, rejected = sides(batch)
    return Pairs(scores=logps, logps=logps, chosen=chosen, rejected=rejected)


class PairObjective:
    """What the objectives on pairs of answers have in common: what they need and what their mean is over."""

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities of the tokens."""
        return frozenset({"logprobs"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``pairs``: those with trained tokens in both answers."""
        chosen, _ = sides(batch)
        return {"pairs": float(chosen.numel())}


def sides(batch: Batch) -> tuple[Tensor, Tensor]:
    """The sequence indices of chosen and rejected, both [P], of the pairs with trained tokens on both sides."""
    group_ids = fact_of(batch, "group_ids").reshape(-1, 2)
    preferred = fact_of(batch, "preferred").reshape(-1, 2).to(torch.float32)
    assert bool((group_ids[:, 0] == group_ids[:, 1]).all()), "the sequences of a pair must stand next to each other"
    one_and_zero = (preferred.sum(1) == 1) & (preferred.amax(1) == 1)
    assert bool(one_and_zero.all()), "a pair has exactly one preferred sequence"
    counts = segment_count(batch.loss_mask, batch.sequence_ids, batch.num_sequences).reshape(-1, 2)
    kept = (counts > 0).all(1).nonzero()[:, 0]
    chosen = 2 * kept + torch.argmax(preferred[kept], dim=1)
    return chosen, chosen ^ 1
