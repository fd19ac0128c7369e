"""Group baselines: a sample is compared with the other samples of its own prompt, so that no critic is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from strop.errors import RecipeError

Scale = Literal["std", "population_std"]
Baseline = Literal["mean", "leave_one_out"]
SCALES: Mapping[Scale, int] = {"std": 1, "population_std": 0}
"""What is taken off G in the variance's denominator: Bessel's correction, or nothing."""
MIN_SPREAD = 1e-6
"""Rewards of a group closer than this are equal: their differences are rounding, not signal."""
STD_OFFSET = 1e-6


def group_advantages(
    rewards: Tensor,
    group_ids: Tensor,
    *,
    scale: Scale | None,
    baseline: Baseline = "mean",
    is_graded: Tensor | None = None,
) -> Tensor:
    """How much better each sample did than its group, ``[S]``, detached.

    mean: A_i = r_i - mean(r);  leave_one_out: A_i = r_i - mean_{j≠i}(r_j) = G/(G-1) (r_i - mean(r));
    scale: A_i / (std(r) + 1e-6), "std" with Bessel's correction (G - 1), as the frameworks compute it,
    "population_std" with G; the two differ by sqrt(G/(G - 1)), 41 % in a pair.

    *Source*: GRPO (arXiv:2402.03300), section 4.1.2; without scale Dr. GRPO (arXiv:2503.20783); leave-one-out RLOO
    (arXiv:2402.14740).
    Shapes: ``rewards``, ``group_ids`` (any integers, any order), ``is_graded`` bool (None: all), all ``[S]``.
    Leave-one-out leaves the gradient exact, the mean shrinks it by (G - 1)/G. The fewer the samples, the noisier the
    baseline: in pairs it can be worse than none at all, from three or four on it beats one constant for all prompts.
    Limits: a group whose graded rewards lie within 1e-6, or with fewer than two graded samples, gets exactly 0. An
    ungraded sample is left out of mean and deviation and gets exactly 0; its reward may be anything, NaN included.
    Raises: RecipeError for a group of one sample: it has nothing to be compared with; and for unknown names.
    """
    _require_known("scale", scale, (None, *SCALES))
    _require_known("baseline", baseline, get_args(Baseline))
    members, index, num_groups = _members(rewards, group_ids, is_graded)
    known = torch.where(members, rewards.detach(), 0.0)
    assert bool(known.isfinite().all()), "a graded reward is not finite"
    counts = _sum(members.to(known.dtype), index, num_groups)[index]
    means = _sum(known, index, num_groups)[index] / counts
    deviations = torch.where(members, known - means, 0.0)
    advantages = deviations
    if baseline == "leave_one_out":
        advantages = deviations * counts / (counts - 1)
    if scale is not None:
        variances = _sum(deviations.square(), index, num_groups)[index] / (counts - SCALES[scale])
        advantages = advantages / (variances.sqrt() + STD_OFFSET)
    # Groups with fewer than two graded samples divided by zero above; they are not informative.
    informative = is_informative(rewards, group_ids, is_graded=is_graded)
    return torch.where(informative & members, advantages, 0.0)


def is_informative(rewards: Tensor, group_ids: Tensor, *, is_graded: Tensor | None = None) -> Tensor:
    """Whether each sample's group has graded rewards at least 1e-6 apart, ``[S]`` bool: the others teach nothing.

    With accuracies (1 passed, 0 failed) this is DAPO's dynamic sampling, 0 < passed < G, of probability
    1 - p^G - (1 - p)^G. Give it accuracies, not shaped rewards: a length penalty lets a group that is all right differ.

    *Source*: DAPO (arXiv:2503.14476), section 3.2.
    """
    members, index, num_groups = _members(rewards, group_ids, is_graded)
    low = torch.where(members, rewards, torch.inf)  # floating, also for counts and for passed or failed
    high = torch.where(members, rewards, -torch.inf)
    lowest = low.new_full((num_groups,), torch.inf).scatter_reduce(0, index, low, "amin")
    highest = high.new_full((num_groups,), -torch.inf).scatter_reduce(0, index, high, "amax")
    return (highest - lowest >= MIN_SPREAD)[index]


def _require_known(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise RecipeError(f"group advantages: {name} is {value!r}", do=f"choose one of {', '.join(map(repr, choices))}")


def _members(rewards: Tensor, group_ids: Tensor, is_graded: Tensor | None) -> tuple[Tensor, Tensor, int]:
    """Which samples count [S], each one's group numbered from 0 [S], and the number of groups."""
    ids, index, sizes = torch.unique(group_ids, return_inverse=True, return_counts=True)
    if bool((sizes < 2).any()):
        alone = ids[sizes < 2].tolist()
        raise RecipeError(
            f"group {alone[0]} has a single sample",
            why="a group baseline compares samples of one prompt; alone, the advantage would be the raw reward",
            do="use group_size of 2 or more",
        )
    members = torch.ones_like(rewards, dtype=torch.bool) if is_graded is None else is_graded.bool()
    return members, index, len(ids)


def _sum(values: Tensor, index: Tensor, num_groups: int) -> Tensor:
    return values.new_zeros(num_groups).index_add(0, index, values)
