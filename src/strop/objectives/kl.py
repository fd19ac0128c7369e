"""The KL axis: estimates of KL(policy || reference) from the policy's own samples, as a loss a token.

Each function maps ``d [N]`` = logprobs - ref_logprobs to ``[N]`` and is differentiable in it. *Source*: Schulman 2020,
"Approximating KL divergence". A drawn sample is a constant, so the gradient of an estimate is not the gradient of what
it estimates. k1 = d is absent on purpose: as a loss its gradient is that of log p, whose expectation is 0, so it
regularises nothing; its place is in the reward.

The weight axis repairs that: with w = ``ratio`` the estimate is multiplied by the differentiable ratio p / p_old, and
E_old[ρ k] = E_p[k] holds as an identity in the parameters. So k3 gets the gradient of KL(policy || reference), samples
of an older policy included, and k2 that of E_p[d²/2], which is not a divergence's. *Source*: DeepSeek-V3.2
(arXiv:2512.02556), section 3.1. On-policy ρ k3 has k3's value and k2's gradient, ρ d ∇ log p.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from strop.objectives.ratio import MAX_LOG_RATIO

KL = Literal["k2", "k3"]
KLWeight = Literal["one", "ratio"]


def k2(log_ratio: Tensor) -> Tensor:
    """d² / 2: biased in value by O(d³); the expected gradient is that of KL(policy || reference)."""
    return log_ratio.square() / 2


def k3(log_ratio: Tensor) -> Tensor:
    """e^-d - 1 + d ≥ 0, d clamped to ± 20: unbiased; the expected gradient is that of KL(reference || policy)."""
    clamped = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(-clamped) + clamped


KLS: Mapping[KL, Callable[[Tensor], Tensor]] = {"k2": k2, "k3": k3}


def one(ratio: Tensor) -> Tensor:
    """1: the samples count as the policy's own."""
    return torch.ones_like(ratio)


def by_ratio(ratio: Tensor) -> Tensor:
    """ρ, differentiable: the samples are the old policy's, and the policy's own probability is what moves."""
    return ratio


KL_WEIGHTS: Mapping[KLWeight, Callable[[Tensor], Tensor]] = {"one": one, "ratio": by_ratio}
