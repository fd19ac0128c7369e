"""The surrogate axis: what is descended at one token, given its ratio and its advantage.

Each function returns the loss of every token ``[N]`` from ``ratio [N]`` and ``logprobs [N]`` (both differentiable),
``advantages [N]`` (constant), and ``bounds``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

Surrogate = Literal["clip", "dual_clip", "cispo", "reinforce"]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The range [1 - ``clip_low``, 1 + ``clip_high``] of the ratio, and the c of the dual clip; infinity: no bound."""

    clip_low: float = inf
    clip_high: float = inf
    dual_clip: float = inf


DEFAULT_BOUNDS: Mapping[Surrogate, Mapping[str, float]] = {
    "clip": {"clip_low": 0.2, "clip_high": 0.2},
    "dual_clip": {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0},
    "cispo": {"clip_low": inf, "clip_high": 4.0},
    "reinforce": {},
}
"""The bounds that each surrogate reads, with the values it uses where none are given."""


def clip(ratio: Tensor, logprobs: Tensor, advantages: Tensor, bounds: Bounds) -> Tensor:
    """-min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A).

    *Source*: PPO, Schulman et al. 2017 (arXiv:1707.06347), eq. 7; two bounds: DAPO (arXiv:2503.14476), section 3.1.
    The gradient is 0 exactly where ``stopped`` says so and is that of -ρ A elsewhere.
    """
    clipped = ratio.clamp(1 - bounds.clip_low, 1 + bounds.clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def dual_clip(ratio: Tensor, logprobs: Tensor, advantages: Tensor, bounds: Bounds) -> Tensor:
    """min(clip's loss, c |A|): for A > 0 that is clip's loss; for A < 0 it grows no further than -c A, at ρ = c > 1.

    *Source*: Ye et al. 2020, "Mastering complex control in MOBA games" (arXiv:1912.09729).
    A bad sample that the policy has come to like much more than when it was drawn no longer dominates the step: beyond
    ρ = c its gradient is 0.
    """
    return torch.minimum(clip(ratio, logprobs, advantages, bounds), bounds.dual_clip * advantages.abs())


def cispo(ratio: Tensor, logprobs: Tensor, advantages: Tensor, bounds: Bounds) -> Tensor:
    """-sg(clip(ρ, 1 - ε_low, 1 + ε_high)) A log p: the weight is bounded, and no token loses its gradient.

    *Source*: MiniMax-M1 (arXiv:2506.13585), section 3.1. There ε_low is set so high that it never binds, which is the
    default here, and only ε_high is tuned. The default bound 1 + 4 is the ε_max = 5 of ScaleRL (arXiv:2510.13786),
    which bounds the weight by ε_max itself.
    """
    weights = ratio.detach().clamp(1 - bounds.clip_low, 1 + bounds.clip_high)
    return -weights * advantages * logprobs


def reinforce(ratio: Tensor, logprobs: Tensor, advantages: Tensor, bounds: Bounds) -> Tensor:
    """-sg(ρ) A log p: the score function, weighted by the detached ratio (1 on-policy); nothing is clipped.

    *Source*: Williams 1992, "Simple statistical gradient-following algorithms", REINFORCE. The gradient is that of
    -ρ A, the importance-weighted objective, wherever a ratio is its own token's.
    """
    return -ratio.detach() * advantages * logprobs


SURROGATES: Mapping[Surrogate, Callable[[Tensor, Tensor, Tensor, Bounds], Tensor]] = {
    "clip": clip,
    "dual_clip": dual_clip,
    "cispo": cispo,
    "reinforce": reinforce,
}


def stopped(ratio: Tensor, advantages: Tensor, bounds: Bounds) -> dict[str, Tensor]:
    """Where the clip has no gradient, [N] bool a side: ``low`` (A < 0 below the range), ``high`` (A > 0 above it)."""
    return {
        "low": (advantages < 0) & (ratio < 1 - bounds.clip_low),
        "high": (advantages > 0) & (ratio > 1 + bounds.clip_high),
    }


def stopped_twice(ratio: Tensor, advantages: Tensor, bounds: Bounds) -> dict[str, Tensor]:
    """Where the dual clip has no gradient: the clip's two sides, and ``dual`` (A < 0 and ρ above c)."""
    return stopped(ratio, advantages, bounds) | {"dual": (advantages < 0) & (ratio > bounds.dual_clip)}


def bounded(ratio: Tensor, advantages: Tensor, bounds: Bounds) -> dict[str, Tensor]:
    """Where CISPO's weight is not the ratio, [N] bool a side, whatever the advantage: the gradient is not 0 there."""
    return {"low": ratio < 1 - bounds.clip_low, "high": ratio > 1 + bounds.clip_high}


def nowhere(ratio: Tensor, advantages: Tensor, bounds: Bounds) -> dict[str, Tensor]:
    """No side: there is no bound to be outside of."""
    return {}


CLIPPED: Mapping[Surrogate, Callable[[Tensor, Tensor, Bounds], dict[str, Tensor]]] = {
    "clip": stopped,
    "dual_clip": stopped_twice,
    "cispo": bounded,
    "reinforce": nowhere,
}
