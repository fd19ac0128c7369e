"""Baselines that look at no other sample of the step: what REINFORCE compares a reward with.

A baseline that does not depend on the sample it is taken from leaves the expected gradient what it is, whatever its
value; a good one lowers the variance. So a moving average must be used first and updated with the step's rewards after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from strop.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class ConstantBaseline:
    """A_i = r_i - b with b the same for the whole run.

    *Source*: Williams 1992, "Simple statistical gradient-following algorithms", section 4.
    Raises: RecipeError for a value that is not finite.
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        _require_finite(self.value)

    def advantages(self, rewards: Tensor, *, is_graded: Tensor | None = None) -> Tensor:
        """r - b, ``[S]``, detached; exactly 0 for what ``is_graded [S]`` says could not be graded."""
        return _advantages(rewards, self.value, is_graded)

    def update(self, rewards: Tensor, *, is_graded: Tensor | None = None) -> Self:
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class MovingAverageBaseline:
    """A_i = r_i - b, and after the step b ← decay · b + (1 - decay) · mean(r).

    *Source*: Williams 1992, section 6, reinforcement comparison.
    ``value`` is the first step's baseline: the pass rate that is expected at the start, so that it need not be caught
    up with.
    Raises: RecipeError unless ``value`` is finite and 0 <= decay < 1: at 1 it is a constant and would say otherwise.
    """

    value: float = 0.0
    decay: float = 0.9

    def __post_init__(self) -> None:
        _require_finite(self.value)
        if not 0 <= self.decay < 1:
            raise RecipeError(f"moving average: decay is {self.decay}", do="use 0 <= decay < 1, or ConstantBaseline")

    def advantages(self, rewards: Tensor, *, is_graded: Tensor | None = None) -> Tensor:
        """r - b, ``[S]``, detached; exactly 0 for what ``is_graded [S]`` says could not be graded."""
        return _advantages(rewards, self.value, is_graded)

    def update(self, rewards: Tensor, *, is_graded: Tensor | None = None) -> Self:
        """The baseline of the next step; itself if nothing was graded."""
        known = rewards if is_graded is None else rewards[is_graded.bool()]
        if len(known) == 0:
            return self
        return replace(self, value=self.decay * self.value + (1 - self.decay) * known.double().mean().item())


def _advantages(rewards: Tensor, value: float, is_graded: Tensor | None) -> Tensor:
    above = -value + rewards.detach()  # a sum, since torch subtracts nothing from a bool
    return above if is_graded is None else torch.where(is_graded.bool(), above, 0.0)


def _require_finite(value: float) -> None:
    if not math.isfinite(value):
        raise RecipeError(f"baseline: value is {value}", do="use a finite number, the mean reward that is expected")
