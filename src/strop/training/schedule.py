"""Learning-rate schedules as pure functions of the step.

With t = completed steps (0 at the first), T = all steps, W = warm-up steps, p = (t - W) / (T - W):

    warm-up (t < W)   (t + 1) / (W + 1)
    constant          1
    linear            1 - p
    cosine            (1 + cos πp) / 2
    wsd               1 until T_s = T - D, then 1 - sqrt((t - T_s) / D), with D a tenth of the run

and the decaying part runs from 1 to ``min_lr_ratio`` instead of 0. No step trains at a rate of 0, and nothing is
counted but optimizer steps, so that a resumed run sees the same rates.

Source: Loshchilov & Hutter, 1608.03983 (cosine); Hu et al., 2404.06395 (WSD); Hägele et al., 2405.18392 (1 - sqrt).
"""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine", "wsd"]

_WSD_DECAY_SHARE = 0.1


def warmup_steps(num_steps: int, warmup: float) -> int:
    """The number of warm-up steps W for a share of the run, at most all but one."""
    return min(round(warmup * num_steps), num_steps - 1)


def lr_factor(schedule: Schedule, t: int, num_steps: int, *, warmup: float = 0.0, min_lr_ratio: float = 0.0) -> float:
    """The multiplier of the peak learning rate after ``t`` completed steps of ``num_steps``."""
    assert 0 <= t < num_steps, f"step {t} lies outside a run of {num_steps} steps"
    first = warmup_steps(num_steps, warmup)
    if t < first:
        return (t + 1) / (first + 1)
    return min_lr_ratio + (1.0 - min_lr_ratio) * _decay(schedule, t, first, num_steps)


def _decay(schedule: Schedule, t: int, first: int, num_steps: int) -> float:
    p = (t - first) / (num_steps - first)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1.0 - p
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * p))
    length = max(1, round(_WSD_DECAY_SHARE * num_steps))
    start = max(first, num_steps - length)
    return 1.0 if t <= start else 1.0 - math.sqrt((t - start) / (num_steps - start))
