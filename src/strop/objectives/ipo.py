"""Identity preference optimization: a margin with a target, so that certain preferences cannot pull without end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from strop.errors import RecipeError
from strop.objectives.pairs import REDUCTIONS, PairObjective, Reduction, against_reference
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class IPO(PairObjective):
    """The squared distance of the margin from its target, as one mean over the step's pairs.

    l(y) = log p(y) - log p_ref(y), the answer's tokens averaged (``reduction="mean"``) or summed (``"sum"``)
    h = l(chosen) - l(rejected);  L = mean (h - 1 / (2β))²

    *Source*: Azar et al. 2023 (arXiv:2310.12036), eq. 17, whose τ is β. The paper writes whole answers, which reads as
    sums; its authors told TRL that their results are of averages per token, which therefore is the default here as in
    TRL. The original DPO repository sums. With sums 1/(2β) is a target in nats an answer, with averages in nats a
    token: the same β means different things.
    Reads pairs (see ``strop.objectives.pairs``, also for the metrics, which follow the reduction) and the stream
    ``ref_logprobs [N]``. Differentiable in ``outputs.logprobs`` only: dL/dl(chosen) = 2 (h - 1/(2β)), negative below
    the target and positive beyond it. At the reference L = 1/(4β²).
    Raises: RecipeError for a β that is not above 0 and finite, or an unknown ``reduction``.
    """

    beta: float = 0.1
    reduction: Reduction = "mean"
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise RecipeError(
                f"ipo: beta is {self.beta}",
                why="the target margin is 1 / (2 beta)",
                do="use 0.01 to 1; smaller pulls more",
            )
        if self.reduction not in REDUCTIONS:
            raise RecipeError(
                f"ipo: reduction is {self.reduction!r}", do=f"choose one of {', '.join(map(repr, REDUCTIONS))}"
            )

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        pairs = against_reference(outputs, batch, self.reduction)
        return pairs.loss((pairs.margin - 1 / (2 * self.beta)).square(), totals, self.beta)
