"""The KL axis: estimates of KL(policy || reference) from the policy's own samples, as a loss a token.

Each function maps ``d [N]`` = logprobs - ref_logprobs to ``[N]`` and is differentiable in it. *Source*: Schulman 2020,
"Approximating KL divergence". k1 = d is absent on purpose: as a loss its gradient is that of log p, whose expectation
is 0, so it regularises nothing; its place is in the reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from strop.objectives.ratio import MAX_LOG_RATIO

KL = Literal["k2", "k3"]


def k2(log_ratio: Tensor) -> Tensor:
    """d² / 2: biased in value by O(d³); the expected gradient is that of KL(policy || reference)."""
    return log_ratio.square() / 2


def k3(log_ratio: Tensor) -> Tensor:
    """e^-d - 1 + d ≥ 0, d clamped to ± 20: unbiased; the expected gradient is that of KL(reference || policy)."""
    clamped = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(-clamped) + clamped


KLS: Mapping[KL, Callable[[Tensor], Tensor]] = {"k2": k2, "k3": k3}
