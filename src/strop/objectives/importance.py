"""What the samples weigh when the engine that drew them is not quite the policy that they are attributed to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from strop.errors import RecipeError
from strop.objectives.kl import k3
from strop.objectives.ratio import MAX_LOG_RATIO, RATIOS, Ratio
from strop.types import Batch

Level = Literal["token", "sequence", "geometric"]
Outside = Literal["truncate", "mask"]

LEVELS: Mapping[Level, Ratio] = {"token": "token", "sequence": "sequence_sum", "geometric": "sequence"}
"""The ratio that stands at each token: its own, the product over the sequence, or the product's |y|-th root."""


def truncate(weights: Tensor, low: float, high: float) -> Tensor:
    """min(max(w, low), high): every token stays, at a bias."""
    return weights.clamp(low, high)


def mask(weights: Tensor, low: float, high: float) -> Tensor:
    """w inside [low, high], 0 outside: what is too far off teaches nothing, and stays in the denominators."""
    return torch.where((weights >= low) & (weights <= high), weights, 0.0)


OUTSIDE: Mapping[Outside, Callable[[Tensor, float, float], Tensor]] = {"truncate": truncate, "mask": mask}


@dataclass(frozen=True, kw_only=True)
class ImportanceCorrection:
    """w = sg(p_old / p_sampler), bounded: the factor of a token's surrogate that moves samples of the engine to p_old.

    Three policies: the sampler drew the tokens, ``old`` is the trainer's policy at the start of the update, and the
    surrogate's own ratio goes from there to the policy being trained. ``level`` says what w is a ratio of; ``low`` and
    ``high`` bound it, and ``outside`` says what happens beyond.

    *Source*: truncated importance sampling: Ionides 2008, and Yao et al. 2025, "Your efficient RL framework secretly
    brings you off-policy RL training"; masking and the levels: the documentation of verl, "rollout correction math".
    ``token`` is biased and of low variance; ``sequence`` is the exact change of measure, and masked it drops long
    answers first, since gaps add up over tokens; ``geometric`` does not see the length, and its useful bounds lie
    within a thousandth of 1.
    Limits: with one engine and one dtype w is 1 exactly. ``high`` may be infinite: no bound. To do without, hand in the
    sampler's log-probabilities as ``old_logprobs``: the surrogate's ratio then goes all the way, and w would be 1
    because both streams are the same, so nothing is counted twice.
    Raises: RecipeError for an unknown name, or for bounds that do not lie around 1.
    """

    level: Level = "token"
    outside: Outside = "truncate"
    high: float = 2.0
    low: float = 0.0

    def __post_init__(self) -> None:
        for name, value, choices in (("level", self.level, LEVELS), ("outside", self.outside, OUTSIDE)):
            if value not in choices:
                raise RecipeError(
                    f"importance correction: {name} is {value!r}",
                    do=f"choose one of {', '.join(map(repr, choices))}",
                )
        if not 0 <= self.low < 1 < self.high:
            raise RecipeError(
                f"importance correction: the bounds are [{self.low}, {self.high}]",
                why="a sampler that agrees with the trainer has weights of 1, which must be inside",
                do="use 0 <= low < 1 < high",
            )

    def __call__(
        self, old_logprobs: Tensor, sampler_logprobs: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weights and what is measured of the gap, each ``[N]``, all detached.

        Measured: ``sampler_weight`` (w), ``sampler_outside`` (whether w was out of bounds), ``sampler_kl`` (the k3
        estimate of KL(sampler || old), which the samples are right for).
        """
        gap = (old_logprobs - sampler_logprobs).detach()
        log_ratio = RATIOS[LEVELS[self.level]](gap, batch)
        ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        weights = OUTSIDE[self.outside](ratio, self.low, self.high)
        is_outside = (ratio < self.low) | (ratio > self.high)
        measured = {"sampler_weight": weights, "sampler_outside": is_outside.to(ratio.dtype), "sampler_kl": k3(-gap)}
        return weights, measured
