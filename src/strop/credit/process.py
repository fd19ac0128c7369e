"""Process rewards: from one score a step to one reward a solution, or to a reward a step that padding cannot raise.

Steps lie on a flat axis of their own: M steps of S solutions end to end, ``sequence_ids [M]`` non-decreasing. NaN is a
step that was not judged (PRM800K stops labelling at the first error: the rest is unknown, not wrong).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from strop.errors import RecipeError
from strop.segments import scatter, segment_last, segment_sum

StepAggregate = Literal["sum", "min", "product", "mean", "last"]
Unjudged = Literal["refuse", "skip"]


def step_sum(scores: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """Σ_t r_t. It pays for steps: with positive scores, every further step raises it."""
    return segment_sum(scores, sequence_ids, num_sequences)


def step_min(scores: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """min_t r_t, the weakest link; no further step raises it. *Source*: Math-Shepherd (arXiv:2312.08935)."""
    return scores.new_full((num_sequences,), math.inf).scatter_reduce(0, sequence_ids, scores, "amin")


def step_product(scores: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """Π_t r_t of probabilities, that all steps are right; no further step raises it, and long solutions score lower.

    *Source*: Lightman et al. 2023 (arXiv:2305.20050), section 2.6.
    """
    if bool(((scores < 0) | (scores > 1)).any()):
        raise RecipeError(
            "process reward: a product of scores that are not probabilities",
            why="two negative steps would multiply to a reward",
            do='put the scores through a sigmoid, or use aggregate="min"',
        )
    return scores.new_ones(num_sequences).scatter_reduce(0, sequence_ids, scores, "prod")


def step_mean(scores: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """The mean of r_t. Easy steps between the hard ones raise it."""
    counts = segment_sum(torch.ones_like(scores), sequence_ids, num_sequences)
    return segment_sum(scores, sequence_ids, num_sequences) / counts


def step_last(scores: Tensor, sequence_ids: Tensor, num_sequences: int) -> Tensor:
    """The last r_t: a process model read as an outcome model."""
    return segment_last(scores, torch.ones_like(scores, dtype=torch.bool), sequence_ids, num_sequences)


STEP_AGGREGATES: Mapping[StepAggregate, Callable[[Tensor, Tensor, int], Tensor]] = {
    "sum": step_sum,
    "min": step_min,
    "product": step_product,
    "mean": step_mean,
    "last": step_last,
}


def process_rewards(
    step_scores: Tensor,
    sequence_ids: Tensor,
    num_sequences: int,
    *,
    aggregate: StepAggregate,
    unjudged: Unjudged = "refuse",
) -> Tensor:
    """One reward a solution from the scores of its steps, ``[S]``, detached.

    ``unjudged="skip"`` leaves unjudged steps (NaN) out; a solution without any judged step gets NaN, to be treated as
    ungraded: an empty product would be a perfect score.

    *Source*: the functions of ``STEP_AGGREGATES``.
    Shapes: ``step_scores [M]``, ``sequence_ids [M]``.
    Raises: RecipeError for an unjudged step where they are refused, unknown names, or a product of non-probabilities.
    """
    if aggregate not in STEP_AGGREGATES:
        raise _unknown("aggregate", aggregate, tuple(STEP_AGGREGATES))
    steps = _judged(step_scores, unjudged)
    scores, owners = step_scores.detach()[steps], sequence_ids[steps]
    found = STEP_AGGREGATES[aggregate](scores, owners, num_sequences)
    has_steps = torch.zeros_like(found, dtype=torch.bool).index_fill(0, owners, True)
    return torch.where(has_steps, found, math.nan)


def potential_rewards(
    potentials: Tensor, sequence_ids: Tensor, *, initial: Tensor, unjudged: Unjudged = "refuse"
) -> Tensor:
    """r_t = Φ_t - Φ_{t-1}, what each step added to the chance of success, ``[M]``, detached.

    The rewards of a solution add up to Φ_last - Φ_0, however many steps it takes: padding earns nothing, and as shaping
    it does not move the optimum. Skipped steps (NaN) get 0, and the next judged one is compared with the one before.

    *Source*: Ng, Harada and Russell 1999, "Policy invariance under reward transformations", theorem 1, with γ = 1.
    Shapes: ``potentials [M]`` after each step, ``sequence_ids [M]``, ``initial [S]``, Φ_0 before the first step.
    Raises: RecipeError for an unjudged step where they are refused.
    """
    steps = _judged(potentials, unjudged)
    known, owners = potentials.detach()[steps], sequence_ids[steps]
    before = initial.detach().to(known.dtype)[owners]
    before[1:] = torch.where(owners[1:] == owners[:-1], known[:-1], before[1:])
    return scatter(known - before, steps, len(potentials))


def _judged(scores: Tensor, unjudged: Unjudged) -> Tensor:
    """The indices of the judged steps."""
    if unjudged not in ("refuse", "skip"):
        raise _unknown("unjudged", unjudged, ("refuse", "skip"))
    is_judged = ~scores.isnan()
    if unjudged == "refuse" and not bool(is_judged.all()):
        raise RecipeError(
            f"process reward: {int((~is_judged).sum())} of {len(scores)} steps were not judged",
            why="an unknown step is neither right nor wrong",
            do='use unjudged="skip" to leave such steps out, or have them judged',
        )
    return is_judged.nonzero(as_tuple=True)[0]


def _unknown(name: str, value: str, choices: tuple[str, ...]) -> RecipeError:
    return RecipeError(f"process reward: {name} is {value!r}", do=f"choose one of {', '.join(map(repr, choices))}")
