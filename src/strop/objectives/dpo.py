"""Direct preference optimization: a preference pair as a classification of the policy's own log-ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from strop.errors import RecipeError
from strop.segments import segment_count, segment_sum
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class DPO:
    """The negative log-likelihood of the stated preference, as one mean over the step's pairs.

    l(y) = Σ_t m_t log p(y_t) - Σ_t m_t log p_ref(y_t);  h = l(chosen) - l(rejected)
    L = - mean [ (1 - ε) log σ(β h) + ε log σ(-β h) ], with ε = ``label_smoothing`` (0: DPO, above 0: conservative DPO)

    *Source*: Rafailov et al. 2023 (arXiv:2305.18290), eq. 7; conservative DPO: Mitchell 2023.
    Reads the stream ``ref_logprobs [N]`` and the facts ``group_ids [S]`` (one id a pair) and ``preferred [S]`` (1 or
    0). The two sequences of a pair stand next to each other, in either order.
    Differentiable in ``outputs.logprobs`` only: dL/dl(chosen) = -β σ(-β h) at ε = 0, the opposite for the rejected one.
    A pair with an answer that has no trained token counts nowhere. At the reference h = 0 and L = ln 2.
    Metrics: ``margin`` (h, nats), ``accuracy`` (share with h > 0; a tie is half), ``logps_chosen`` and
    ``logps_rejected`` (sums over the answer), ``rewards_chosen`` and ``rewards_rejected`` (β l).
    Raises: RecipeError for β ≤ 0 or ε outside [0, 0.5).
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise RecipeError(
                f"dpo: beta is {self.beta}", why="at 0 the loss is ln 2 whatever the policy", do="use 0.1 to 0.5"
            )
        if not 0 <= self.label_smoothing < 0.5:
            raise RecipeError(
                f"dpo: label_smoothing is {self.label_smoothing}",
                why="it is the probability that a pair is mislabelled; from 0.5 on the pairs teach the opposite",
                do="choose a value in [0, 0.5)",
            )

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities of the tokens."""
        return frozenset({"logprobs"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``pairs``: those with trained tokens in both answers."""
        chosen, _ = _pairs(batch)
        return {"pairs": float(chosen.numel())}

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        chosen, rejected = _pairs(batch)
        num_pairs = max(totals["pairs"], 1.0)
        logps = _sums(outputs.logprobs, batch)
        log_ratios = logps - _sums(batch.streams["ref_logprobs"].detach(), batch)
        margin = log_ratios[chosen] - log_ratios[rejected]
        loss = -(1 - self.label_smoothing) * functional.logsigmoid(self.beta * margin)
        if self.label_smoothing:
            loss = loss - self.label_smoothing * functional.logsigmoid(-self.beta * margin)
        measured = {
            "margin": margin,
            "accuracy": (margin.detach().sign() + 1) / 2,
            "logps_chosen": logps[chosen],
            "logps_rejected": logps[rejected],
            "rewards_chosen": self.beta * log_ratios[chosen],
            "rewards_rejected": self.beta * log_ratios[rejected],
        }
        metrics = {name: value.detach().sum() / num_pairs for name, value in measured.items()}
        return Loss(value=loss.sum() / num_pairs, metrics=metrics)


def _sums(logprobs: Tensor, batch: Batch) -> Tensor:
    """Σ over each sequence's trained tokens, [S]."""
    return segment_sum(logprobs * batch.loss_mask, batch.sequence_ids, batch.num_sequences)


def _pairs(batch: Batch) -> tuple[Tensor, Tensor]:
    """The sequence indices of chosen and rejected, both [P], of the pairs with trained tokens on both sides."""
    group_ids = batch.facts["group_ids"].reshape(-1, 2)
    preferred = batch.facts["preferred"].reshape(-1, 2)
    assert bool((group_ids[:, 0] == group_ids[:, 1]).all()), "the sequences of a pair must stand next to each other"
    assert bool((preferred.sum(1) == 1).all()), "a pair has exactly one preferred sequence"
    counts = segment_count(batch.loss_mask, batch.sequence_ids, batch.num_sequences).reshape(-1, 2)
    kept = (counts > 0).all(1).nonzero()[:, 0]
    chosen = 2 * kept + torch.argmax(preferred[kept], dim=1)
    return chosen, chosen ^ 1
