"""KTO: single answers marked desirable or undesirable, each measured against one reference point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from strop.batches import fact_of, stream_of
from strop.errors import RecipeError
from strop.objectives.pairs import sequence_sums
from strop.segments import segment_count
from strop.types import Batch, Loss, Outputs


def reference_point(log_ratios: Tensor) -> Tensor:
    """z₀ = max(0, mean of log p(y'|x) - log p_ref(y'|x)), the estimate of KL(p || p_ref), a detached scalar.

    ``log_ratios [K]``: sums over the answers y' of *mismatched* pairs, each answer under the prompt of another row. One
    value serves the whole optimizer step: hand it to every row as the fact ``reference_kl``.
    *Source*: Ethayarajh et al. 2024 (arXiv:2402.01306), section 4, which estimates it in every microbatch: there
    the microbatch size is part of the objective. Raises: RecipeError without log-ratios.
    """
    if not log_ratios.numel():
        raise RecipeError(
            "kto: a reference point of no log-ratios", why="it is their mean", do="give at least one mismatched pair"
        )
    return log_ratios.detach().mean().clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class KTO:
    """One minus the prospect value of every answer, as one mean over the step's sequences.

    r(y) = Σ_t m_t log p(y_t) - Σ_t m_t log p_ref(y_t)
    L = mean λ_D (1 - σ(β (r - z₀))) over desirable and λ_U (1 - σ(β (z₀ - r))) over undesirable answers together

    *Source*: Ethayarajh et al. 2024 (arXiv:2402.01306), section 4, eq. 7.
    Reads the stream ``ref_logprobs [N]`` and the facts ``preferred [S]`` (1 desirable, 0 undesirable) and
    ``reference_kl [S]`` (z₀, see ``reference_point``): a constant, the same for every row of the step. No pairs.
    Differentiable in ``outputs.logprobs`` only: dL/dr = ∓ λ β σ'(β (r - z₀)), largest at z₀ and fading on both sides,
    so that an answer far on the wrong side is given up. At the reference (r = z₀ = 0) every answer costs λ / 2.
    A row without trained tokens counts nowhere.
    Metrics: ``reference_kl``, ``accuracy`` (share on the right side of z₀; on it is half), and as means over the rows
    of their kind ``logps_desirable``, ``logps_undesirable``, ``rewards_desirable``, ``rewards_undesirable`` (β r).
    Raises: RecipeError for a β that is not above 0 and finite, or a weight that is below 0 or not finite.
    """

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise RecipeError(
                f"kto: beta is {self.beta}", why="at 0 every answer has the same value", do="use 0.05 to 0.5"
            )
        for name in ("desirable_weight", "undesirable_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(
                    f"kto: {name} is {getattr(self, name)}",
                    why="a negative weight teaches the opposite of the label",
                    do="choose the two so that weight times number of rows is about the same on both sides",
                )

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities of the tokens."""
        return frozenset({"logprobs"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``sequences`` with trained tokens, and how many of them are ``desirable`` and ``undesirable``."""
        is_trained, is_desirable = _rows(batch)
        return {
            "sequences": float(is_trained.sum()),
            "desirable": float((is_trained & is_desirable).sum()),
            "undesirable": float((is_trained & ~is_desirable).sum()),
        }

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        is_trained, is_desirable = _rows(batch)
        logps = sequence_sums(outputs.logprobs, batch)
        log_ratios = logps - sequence_sums(stream_of(batch, "ref_logprobs").detach(), batch)
        reference_kl = fact_of(batch, "reference_kl").detach().to(logps.dtype)
        assert bool((reference_kl >= 0).all()), "the reference point is clamped at 0"
        lead = torch.where(is_desirable, log_ratios - reference_kl, reference_kl - log_ratios)
        weights = torch.where(is_desirable, self.desirable_weight, self.undesirable_weight)
        losses = weights * torch.sigmoid(-self.beta * lead)
        desirable, undesirable = is_trained & is_desirable, is_trained & ~is_desirable
        measured = {
            "reference_kl": (reference_kl, is_trained, "sequences"),
            "accuracy": ((lead.sign() + 1) / 2, is_trained, "sequences"),
            "logps_desirable": (logps, desirable, "desirable"),
            "logps_undesirable": (logps, undesirable, "undesirable"),
            "rewards_desirable": (self.beta * log_ratios, desirable, "desirable"),
            "rewards_undesirable": (self.beta * log_ratios, undesirable, "undesirable"),
        }
        metrics = {key: _mean(value, rows, totals[kind]).detach() for key, (value, rows, kind) in measured.items()}
        return Loss(value=_mean(losses, is_trained, totals["sequences"]), metrics=metrics)


def _rows(batch: Batch) -> tuple[Tensor, Tensor]:
    """Whether each sequence has trained tokens, and whether it is desirable, both [S] bool."""
    preferred = fact_of(batch, "preferred")
    is_desirable = preferred == 1
    assert bool((is_desirable | (preferred == 0)).all()), "a row is desirable (1) or undesirable (0)"
    return segment_count(batch.loss_mask, batch.sequence_ids, batch.num_sequences) > 0, is_desirable


def _mean(values: Tensor, rows: Tensor, total: float) -> Tensor:
    return (values * rows).sum() / max(total, 1.0)
