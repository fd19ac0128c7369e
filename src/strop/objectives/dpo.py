"""Direct preference optimization: a preference pair as a classification of the policy's own log-ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch.nn import functional

from strop.errors import RecipeError
from strop.objectives.pairs import PairObjective, against_reference
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class DPO(PairObjective):
    """The negative log-likelihood of the stated preference, as one mean over the step's pairs.

    l(y) = Σ_t m_t log p(y_t) - Σ_t m_t log p_ref(y_t);  h = l(chosen) - l(rejected)
    L = - mean [ (1 - ε) log σ(β h) + ε log σ(-β h) ], with ε = ``label_smoothing`` (0: DPO, above 0: conservative DPO)

    *Source*: Rafailov et al. 2023 (arXiv:2305.18290), eq. 7; conservative DPO: Mitchell 2023.
    Reads pairs (see ``strop.objectives.pairs``, also for the metrics) and the stream ``ref_logprobs [N]``.
    Differentiable in ``outputs.logprobs`` only: dL/dl(chosen) = -β σ(-β h) at ε = 0, the opposite for the rejected one.
    At the reference h = 0 and L = ln 2. Conservative DPO is least where σ(β h) = 1 - ε and pulls back beyond.
    Raises: RecipeError for a β that is not above 0 and finite, or ε outside [0, 0.5).
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise RecipeError(
                f"dpo: beta is {self.beta}", why="at 0 the loss is ln 2 whatever the policy", do="use 0.1 to 0.5"
            )
        if not 0 <= self.label_smoothing < 0.5:
            raise RecipeError(
                f"dpo: label_smoothing is {self.label_smoothing}",
                why="it is the probability that a pair is mislabelled; from 0.5 on the pairs teach the opposite",
                do="choose a value in [0, 0.5)",
            )

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        pairs = against_reference(outputs, batch, "sum")
        losses = -(1 - self.label_smoothing) * functional.logsigmoid(self.beta * pairs.margin)
        if self.label_smoothing:
            losses = losses - self.label_smoothing * functional.logsigmoid(-self.beta * pairs.margin)
        return pairs.loss(losses, totals, self.beta)
