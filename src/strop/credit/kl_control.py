"""The KL in the reward: a price on every token for leaving the reference, and the controllers that set the price.

Detached, inside the reward, k1 gives the policy gradient of E[r] - β KL(policy || reference). Inside a loss k1 gives
nothing and k3 gives the opposite KL: see ``strop.objectives.kl``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from strop.credit.gae import terminal_rewards
from strop.errors import RecipeError
from strop.segments import segment_sum

MAX_ERROR = 0.2
"""A controller's relative error is clipped to ± this before it moves β."""


def sequence_kl(
    logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, sequence_ids: Tensor, num_sequences: int
) -> Tensor:
    """Each sample's estimate of KL(policy || reference), Σ_t (log p - log p_ref), ``[S]`` in nats, detached.

    *Source*: Schulman 2020, "Approximating KL divergence", k1: unbiased, and of either sign for one sample.
    """
    return segment_sum(token_kl(logprobs, ref_logprobs, mask), sequence_ids, num_sequences)


def token_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """k1 = log p - log p_ref at the masked tokens and 0 elsewhere, ``[N]``, detached; both of the sampling temperature.

    The policy's log-probabilities are those at the time of sampling: they stay what they are when a batch is used for
    several updates.
    """
    return (logprobs - ref_logprobs).detach().masked_fill(~mask, 0.0)


def penalised_token_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, sequence_ids: Tensor, *, beta: float
) -> Tensor:
    """-β k1_t at every trained token, and the score at the last one on top, ``[N]``, detached: PPO's rewards.

    *Source*: Ziegler et al. 2019 (arXiv:1909.08593), eq. 2, a token at a time.
    Shapes: ``scores [S]``; ``logprobs``, ``ref_logprobs``, ``mask`` bool, ``sequence_ids [N]``.
    Raises: RecipeError for a negative or infinite ``beta``.
    """
    _require_price(beta)
    return terminal_rewards(scores, mask, sequence_ids) - beta * token_kl(logprobs, ref_logprobs, mask)


def penalised_scores(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, sequence_ids: Tensor, *, beta: float
) -> Tensor:
    """R_i = r_i - β Σ_t k1_t, ``[S]``, detached: RLOO's rewards, before the group's baseline.

    *Source*: Ahmadian et al. 2024 (arXiv:2402.14740), section 2. Shapes and raises as ``penalised_token_rewards``.
    """
    _require_price(beta)
    return -beta * sequence_kl(logprobs, ref_logprobs, mask, sequence_ids, len(scores)) + scores.detach()


@dataclass(frozen=True, kw_only=True)
class FixedKL:
    """A price that stays."""

    beta: float

    def __post_init__(self) -> None:
        _require_price(self.beta)

    def update(self, kl: float, num_samples: int) -> Self:
        """Itself, whatever was measured."""
        return self


@dataclass(frozen=True, kw_only=True)
class AdaptiveKL:
    """A price that rises while the policy is farther from the reference than wanted, and falls while it is nearer.

    e = clip(KL / target - 1, ± 0.2);  β ← β (1 + e · n / horizon) with n samples since the last update.

    *Source*: Ziegler et al. 2019 (arXiv:1909.08593), section 2.2; the horizon of 10,000 as in
    openai/lm-human-preferences and verl b178a3c.
    Raises: RecipeError unless ``beta`` (a factor moves it: from 0 it never leaves), ``target`` and ``horizon`` are
    positive and finite.
    """

    beta: float
    target: float
    """In the unit of the KL that ``update`` is given: nats a sequence, or nats a token."""
    horizon: float = 10_000
    """Over this many samples a clipped error moves β by about 20 %."""

    def __post_init__(self) -> None:
        for name, value in (("beta", self.beta), ("target", self.target), ("horizon", self.horizon)):
            if not 0 < value < math.inf:
                raise RecipeError(f"adaptive KL: {name} is {value}", do=f"use {name} above 0")

    def update(self, kl: float, num_samples: int) -> Self:
        """The controller with the next price, after ``num_samples`` samples of mean KL ``kl``.

        Raises: RecipeError for a KL that is not finite, or so many samples that the price would no longer be positive.
        """
        if not math.isfinite(kl):
            raise RecipeError(
                f"adaptive KL: the measured KL is {kl}", do="look for a log-probability that is not finite"
            )
        if not 0 < MAX_ERROR * num_samples < self.horizon:
            raise RecipeError(
                f"adaptive KL: {num_samples} samples with a horizon of {self.horizon}",
                why="one update could take the whole price away, or turn it into a bonus",
                do="use a horizon of many steps' samples",
            )
        error = min(max(kl / self.target - 1, -MAX_ERROR), MAX_ERROR)
        return replace(self, beta=self.beta * (1 + error * num_samples / self.horizon))


def _require_price(beta: float) -> None:
    if not 0 <= beta < math.inf:
        raise RecipeError(f"KL in the reward: beta is {beta}", why="a negative one rewards drift", do="use 0 or more")
