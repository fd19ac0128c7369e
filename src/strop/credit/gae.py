"""Generalised advantage estimation: a critic's values spread a late reward over the tokens that earned it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from strop.credit.returns import require_share
from strop.segments import following, last_of_each, reverse_scan


def terminal_rewards(scores: Tensor, mask: Tensor, sequence_ids: Tensor) -> Tensor:
    """Each sequence's score at its last trained token and 0 elsewhere, ``[N]``, detached.

    Shapes: ``scores [S]``, ``mask [N]`` bool, ``sequence_ids [N]``. A sequence without trained tokens leaves its score
    out, whatever it is. Where a tool's answer ends the sequence the score stands at the last token before it.
    """
    rewards = torch.where(last_of_each(mask, sequence_ids), scores.detach()[sequence_ids], 0.0)
    assert bool(rewards.isfinite().all()), "a score is not finite: leave ungraded samples out of the batch"
    return rewards


def gae(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    sequence_ids: Tensor,
    num_sequences: int,
    *,
    final_values: Tensor,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> tuple[Tensor, Tensor]:
    """The advantage of each trained token and the return that its value should have foretold, ``[N]`` each, detached.

    δ_t = r_t + γ V_{t+1} - V_t;  A_t = δ_t + γ λ A_{t+1};  R_t = A_t + V_t, of the advantages *before* any whitening.
    "t + 1" is the next trained token of the sequence: a tool's answer in between is stepped over, it neither discounts
    nor decays. λ = 0 is the one-step error, λ = 1 is (what was earned from here on) - V_t.

    *Source*: Schulman et al. 2015 (arXiv:1506.02438), eq. 16; stepping over masked tokens: verl b178a3c,
    core_algos.compute_gae_advantage_return.
    Shapes: ``rewards``, ``values`` (the critic before the token is chosen), ``mask`` bool, ``sequence_ids`` all
    ``[N]``; ``final_values [S]``, V after each sequence's last trained token. It has no default since only the caller
    knows: 0 for a sequence that ended (``torch.zeros(num_sequences)``), the critic's estimate of what would have come
    for one that was cut off, or 0 there too if the score already punishes the cut. 0 for a cut one that is not punished
    teaches that nothing was to come.
    Limits: what stands outside the mask is never read, NaN included; both results are 0 there.
    Raises: RecipeError for ``gamma`` or ``lam`` outside 0..1.
    """
    require_share("gamma", gamma)
    require_share("lam", lam)
    rewards, values, final_values = rewards.detach(), values.detach(), final_values.detach()
    at_end = torch.where(last_of_each(mask, sequence_ids), final_values[sequence_ids], 0.0)
    next_values = following(values, mask, sequence_ids) + at_end
    errors = rewards + gamma * next_values - values
    advantages = reverse_scan(errors, gamma * lam, mask, sequence_ids, num_sequences)
    return advantages, torch.where(mask, advantages + values, 0.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """The share of the returns' variance over the trained tokens that the critic foretold: 1 - Var(R - V) / Var(R).

    1 for a perfect critic, 0 for a constant one, negative for one that is worse than a constant. A constant offset of
    the critic does not show. NaN where it has no meaning: fewer than two tokens, or returns that are all the same.
    Take it over the whole step: it does not add up over micro-batches. From the metrics of ``ValueLoss``, which do,
    ``strop.objectives.step_explained_variance`` tells the same.
    Shapes: ``values``, ``returns``, ``mask`` bool, all ``[N]``.
    """
    known = returns[mask].double()
    if len(known) == 0 or bool(known.min() == known.max()):
        return math.nan
    missed = known - values[mask]
    return 1 - (missed.var() / known.var()).item()
