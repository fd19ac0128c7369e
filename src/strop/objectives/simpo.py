"""SimPO: preference pairs under the policy's own length-normalised likelihood, with a margin to reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch.nn import functional

from strop.errors import RecipeError
from strop.objectives.pairs import REDUCTIONS, PairObjective, Reduction, without_reference
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class SimPO(PairObjective):
    """The negative log-likelihood of the preference without a reference, as one mean over the step's pairs.

    l(y) = the mean of log p(y_t) over the answer's tokens (``reduction="mean"``), or their sum (``"sum"``)
    h = l(chosen) - l(rejected);  L = - mean log σ(β h - γ)

    With sums and γ = 0 it is the preference term of CPO (``strop.objectives.cpo``).

    *Source*: Meng, Xia, Chen 2024 (arXiv:2405.14734), eq. 6; the defaults are the paper's for Llama-3-8B base. γ is
    the target *after* the scaling by β; some implementations state γ/β.
    Reads pairs (see ``strop.objectives.pairs``, also for the metrics, which follow the reduction); ``accuracy`` counts
    h > 0, not β h > γ. No reference, so nothing but γ and the learning rate keeps the policy near its start.
    Differentiable in ``outputs.logprobs``: dL/dl(chosen) = -β σ(γ - β h).
    Raises: RecipeError for a β that is not above 0 and finite, a γ that is below 0 or not finite, or an unknown
    ``reduction``.
    """

    beta: float = 2.0
    gamma: float = 1.0
    reduction: Reduction = "mean"
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise RecipeError(f"simpo: beta is {self.beta}", why="it scales the margin", do="use 2 to 10 with means")
        if not 0 <= self.gamma < math.inf:
            raise RecipeError(
                f"simpo: gamma is {self.gamma}",
                why="it is the lead that the chosen answer should have; below 0 it would excuse the wrong order",
                do="use 0 for none, or up to about beta",
            )
        if self.reduction not in REDUCTIONS:
            raise RecipeError(
                f"simpo: reduction is {self.reduction!r}", do=f"choose one of {', '.join(map(repr, REDUCTIONS))}"
            )

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        pairs = without_reference(outputs, batch, self.reduction)
        return pairs.loss(-functional.logsigmoid(self.beta * pairs.margin - self.gamma), totals, self.beta)
