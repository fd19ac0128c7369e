"""Length in the reward: what an answer pays for running on, and what becomes of one that was cut off."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from strop.errors import RecipeError


def soft_overlong_penalty(lengths: Tensor, *, max_length: int, buffer: int, factor: float = 1.0) -> Tensor:
    """The penalty of each answer, ``[S]`` in [-factor, 0], to be added to its reward.

    0 up to max_length - buffer tokens; then falling linearly, ((max_length - buffer) - |y|) / buffer; -1 from
    max_length on; all times ``factor``.

    *Source*: DAPO (arXiv:2503.14476), eq. 13 (20480 tokens with a buffer of 4096 there).
    Shapes: ``lengths [S]``, trained tokens of each answer. Choose groups to train on by their accuracy, not by the
    reward with this in it: see ``is_informative``.
    Raises: RecipeError unless 0 < buffer <= max_length and the factor is positive.
    """
    if not 0 < buffer <= max_length:
        raise RecipeError(
            f"soft overlong penalty: buffer is {buffer} with max_length {max_length}",
            why="the penalty grows over the last `buffer` of `max_length` tokens",
            do="use 0 < buffer <= max_length, usually a fifth of it",
        )
    _require_positive("factor", factor)
    beyond = (lengths - (max_length - buffer)) / buffer
    return -factor * beyond.clamp(0, 1)


def overlong_filter(mask: Tensor, is_truncated: Tensor, sequence_ids: Tensor) -> Tensor:
    """The loss mask without the sequences that were cut off, ``[N]`` bool: being cut is no evidence of being wrong.

    Their tokens leave the denominators too. Their rewards still stand in the group's mean; mark them ungraded there if
    they should not.

    *Source*: DAPO (arXiv:2503.14476), section 3.4; not part of the recipe behind its best runs.
    Shapes: ``mask [N]`` bool, ``is_truncated [S]`` (bool or 0/1), ``sequence_ids [N]``.
    """
    return mask & ~is_truncated.bool()[sequence_ids]


def linear_length_penalty(lengths: Tensor, *, max_length: int, weight: float) -> Tensor:
    """-weight · |y| / max_length for each answer, ``[S]``, to be added to its reward: every token costs the same.

    ``max_length`` is the run's fixed bound, never the longest of a batch. A right answer must stay worth more than a
    short wrong one: keep ``weight`` below the reward of passing.
    Raises: RecipeError unless both are positive.
    """
    _require_positive("max_length", max_length)
    _require_positive("weight", weight)
    return -weight * lengths / max_length


def relative_length_reward(lengths: Tensor, is_correct: Tensor, group_ids: Tensor) -> Tensor:
    """A reward for being shorter than the other answers to the same prompt, ``[S]`` in [-0.5, 0.5].

    λ_i = 0.5 - (|y_i| - shortest) / (longest - shortest) over all answers of the group; a right answer gets λ_i, a
    wrong one min(0, λ_i): it can lose by rambling, and never gains by giving up early.

    *Source*: Kimi k1.5 (arXiv:2501.12599), section 2.3.3, "Length Penalty"; there it is weighted, added to the reward,
    and switched on only after a warm-up, since it slows early learning.
    Shapes: ``lengths``, ``is_correct`` (bool or 0/1), ``group_ids`` (any integers, any order), all ``[S]``.
    Limits: 0 for a group whose answers are equally long, a group of one included.
    """
    groups, index = torch.unique(group_ids, return_inverse=True)
    sizes = lengths.to(torch.get_default_dtype())
    shortest = sizes.new_full((len(groups),), math.inf).scatter_reduce(0, index, sizes, "amin")[index]
    longest = sizes.new_zeros(len(groups)).scatter_reduce(0, index, sizes, "amax")[index]
    spread = longest - shortest
    relative = 0.5 - (sizes - shortest) / spread
    gained = torch.where(is_correct.bool(), relative, relative.clamp(max=0))
    return torch.where(spread > 0, gained, 0.0)


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise RecipeError(
            f"length penalty: {name} is {value}", why="a penalty takes away in proportion", do=f"use {name} above 0"
        )
