"""Whitening over the trained tokens of a step: advantages to mean 0 and variance 1, rewards to variance 1 only."""

from __future__ import annotations

import torch
from torch import Tensor

from strop.credit.groups import MIN_SPREAD

VARIANCE_OFFSET = 1e-8
"""Added to the variance, so that values hardly 1e-4 apart are not blown up to 1."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the masked ``values [N]``, a scalar. Raises: ValueError for an empty mask."""
    if not bool(mask.any()):
        raise ValueError("the mean of no tokens")
    return values[mask].mean()


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """The unbiased variance (n - 1) of the masked ``values [N]``, a scalar. Raises: ValueError for under two tokens."""
    if int(mask.sum()) < 2:
        raise ValueError(f"the unbiased variance of {int(mask.sum())} tokens")
    return values[mask].var()


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """(x - mean) / sqrt(var + 1e-8) at the masked tokens and 0 elsewhere, ``[N]``, detached.

    Mean and unbiased variance are those of the masked tokens. With ``shift_mean=False`` the mean is added back, so that
    only the scale changes: for rewards, whose mean says whether finishing pays.

    *Source*: Ziegler et al. 2019, openai/lm-human-preferences, utils/core.py, ``whiten``; verl b178a3c.
    Shapes: ``values``, ``mask`` bool, both ``[N]``: all trained tokens of the optimizer step, not of a micro-batch.
    Limits: values within 1e-6 of each other, one token included, are equal: they become exactly 0 with ``shift_mean``,
    and stay as they are without. An empty mask gives zeros.
    """
    known = values.detach()
    chosen = known[mask]
    if len(chosen) == 0 or bool(chosen.max() - chosen.min() < MIN_SPREAD):
        return torch.zeros_like(known) if shift_mean else torch.where(mask, known, 0.0)
    mean = masked_mean(known, mask)
    scaled = (known - mean) / (masked_variance(known, mask) + VARIANCE_OFFSET).sqrt()
    return torch.where(mask, scaled if shift_mean else scaled + mean, 0.0)
