"""The surrogate axis: what is descended at one token, given its ratio and its advantage.

Each function returns the loss of every token ``[N]`` from ``ratio [N]`` and ``logprobs [N]`` (both differentiable),
``advantages [N]`` (constant), and the clip range [1 - ``clip_low``, 1 + ``clip_high``].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Surrogate = Literal["clip", "reinforce"]


def clip(ratio: Tensor, logprobs: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A).

    *Source*: PPO, Schulman et al. 2017 (arXiv:1707.06347), eq. 7; two bounds: DAPO (arXiv:2503.14476), section 3.1.
    The gradient is 0 exactly where ``is_clipped`` and is that of -ρ A elsewhere.
    """
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def reinforce(ratio: Tensor, logprobs: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-sg(ρ) A log p: the score function, weighted by the detached ratio (1 on-policy); nothing is clipped.

    *Source*: Williams 1992, "Simple statistical gradient-following algorithms", REINFORCE.
    """
    return -ratio.detach() * advantages * logprobs


SURROGATES: Mapping[Surrogate, Callable[[Tensor, Tensor, Tensor, float, float], Tensor]] = {
    "clip": clip,
    "reinforce": reinforce,
}


def is_clipped(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> tuple[Tensor, Tensor]:
    """Where the clip surrogate has no gradient, [N] bool each: A < 0 below the range, and A > 0 above it."""
    return (advantages < 0) & (ratio < 1 - clip_low), (advantages > 0) & (ratio > 1 + clip_high)
