"""Robust DPO: the loss whose mean over randomly flipped labels is DPO's on the true ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch.nn import functional

from strop.errors import RecipeError
from strop.objectives.pairs import PairObjective, against_reference
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class RobustDPO(PairObjective):
    """DPO corrected for labels that are flipped with probability ε, as one mean over the step's pairs.

    ℓ(h) = -log σ(β h), with DPO's h;  L = mean [ (1 - ε) ℓ(h) - ε ℓ(-h) ] / (1 - 2ε), with ε = ``flip_probability``

    If every label is flipped with probability ε, independently of the pair, the expectation of L over the flips is
    DPO's loss on the true labels: (1 - ε) L(h) + ε L(-h) = ℓ(h).

    *Source*: Chowdhury, Kini, Natarajan 2024 (arXiv:2403.00409), the loss of rDPO.
    Reads pairs (see ``strop.objectives.pairs``, also for the metrics) and the stream ``ref_logprobs [N]``.
    Differentiable in ``outputs.logprobs`` only: dL/dl(chosen) = -β [(1 - ε) σ(-β h) + ε σ(β h)] / (1 - 2ε). It never
    fades: for large h the loss falls by β ε / (1 - 2ε) a nat, without bound. At the reference L = ln 2.
    Raises: RecipeError for a β that is not above 0 and finite, or ε outside [0, 0.5).
    """

    beta: float = 0.1
    flip_probability: float = 0.1
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise RecipeError(
                f"robust dpo: beta is {self.beta}", why="at 0 the loss is ln 2 whatever the policy", do="use 0.1 to 0.5"
            )
        if not 0 <= self.flip_probability < 0.5:
            raise RecipeError(
                f"robust dpo: flip_probability is {self.flip_probability}",
                why="at 0.5 the labels carry nothing, and the correction divides by 1 - 2 flip_probability",
                do="choose a value in [0, 0.5), such as the disagreement of two annotators",
            )

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        pairs, flip = against_reference(outputs, batch, "sum"), self.flip_probability
        as_stated = -functional.logsigmoid(self.beta * pairs.margin)
        flipped = -functional.logsigmoid(-self.beta * pairs.margin)
        losses = ((1 - flip) * as_stated - flip * flipped) / (1 - 2 * flip)
        return pairs.loss(losses, totals, self.beta)
