"""Returns: what was earned from a token on, the credit of methods that have no critic."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from strop.errors import RecipeError
from strop.segments import reverse_scan

Normaliser = Literal["remaining_length"]
NORMALISERS: tuple[Normaliser | None, ...] = (None, "remaining_length")


def rewards_to_go(
    rewards: Tensor,
    mask: Tensor,
    sequence_ids: Tensor,
    num_sequences: int,
    *,
    gamma: float = 1.0,
    normalise: Normaliser | None = None,
) -> Tensor:
    """The discounted rewards from each trained token to the end of its sequence, ``[N]``, detached.

    R_t = Σ_{u ≥ t} γ^{u - t} r_u over the trained tokens of the sequence; with ``normalise="remaining_length"`` R_t is
    divided by the number of trained tokens from t on, so that early tokens do not collect more merely by being early.

    *Source*: Williams 1992 (REINFORCE); the normalised form MiniLLM (arXiv:2306.08543), section 2.2, as in
    microsoft/LMOps 7b14bef, minillm/losses.py, which counts the token's own reward in sum and length.
    Shapes: ``rewards [N]``, ``mask [N]`` bool, ``sequence_ids [N]``. Tokens that are masked out (a tool's answer) are
    stepped over: their rewards do not count and they do not discount. 0 outside the mask.
    Raises: RecipeError for a discount outside 0..1 or an unknown normaliser.
    """
    require_share("gamma", gamma)
    if normalise not in NORMALISERS:
        raise RecipeError(
            f"rewards to go: normalise is {normalise!r}", do=f"choose one of {', '.join(map(repr, NORMALISERS))}"
        )
    earned = reverse_scan(rewards.detach(), gamma, mask, sequence_ids, num_sequences)
    if normalise is None:
        return earned
    left = reverse_scan(torch.ones_like(earned), 1.0, mask, sequence_ids, num_sequences)
    return earned / left.clamp(min=1)


def require_share(name: str, value: float) -> None:
    """Refuses a discount or a trace decay that is not within 0..1, NaN included."""
    if not 0 <= value <= 1:
        raise RecipeError(
            f"{name} is {value}", why="beyond 1 later tokens count ever more", do=f"use 0 <= {name} <= 1, usually 1"
        )
