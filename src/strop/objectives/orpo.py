"""ORPO: the likelihood of the chosen answer plus its odds against the rejected one: one stage, no reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from strop.errors import RecipeError
from strop.objectives.chosen_cross_entropy import ChosenCrossEntropy
from strop.objectives.pairs import PairObjective, without_reference
from strop.objectives.total import Total
from strop.types import Batch, Loss, Outputs

MAX_LOGPROB = -(2.0**-23)
"""1 - p is not resolved below float32's spacing at 1; a mean log-probability above this counts as this."""


def log_odds(logprobs: Tensor) -> Tensor:
    """log (p / (1 - p)) = l - log(1 - e^l) of log-probabilities l, any shape; log1mexp keeps it exact as p → 1.

    Finite with its gradient 1 / (1 - p), since l is clamped to ``MAX_LOGPROB``: at most 23 ln 2 = 15.9 and 2²³. Where
    the clamp holds, the gradient is 0.
    """
    clamped = logprobs.clamp(max=MAX_LOGPROB)
    return clamped - torch.log(-torch.expm1(clamped))


@dataclass(frozen=True, kw_only=True)
class OddsRatio(PairObjective):
    """The negative log-likelihood of the preference under the odds of the answers, as one mean over the step's pairs.

    l(y) = the mean of log p(y_t) over the answer's tokens;  odds(y) = e^l / (1 - e^l)
    D = log odds(chosen) - log odds(rejected);  L = - mean log σ(D)

    The mean matters: e^l of a sum is 0 for any long answer, so that its odds are its probability and D a plain margin.

    *Source*: Hong, Lee, Thorne 2024 (arXiv:2403.07691), eqs. 4 and 7.
    Reads pairs (see ``strop.objectives.pairs``). Metrics: those of pairs, with ``margin`` = D, ``logps_*`` the means l,
    and ``rewards_*`` the log-odds. Differentiable in ``outputs.logprobs``: dL/dl(y) = ∓ σ(-D) / (1 - e^l(y)), - for the
    chosen answer. Two equal answers give ln 2.
    """

    temperature: float = field(default=1.0, init=False)

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        pairs = without_reference(outputs, batch, "mean")
        pairs = replace(pairs, scores=log_odds(pairs.logps))
        return pairs.loss(-functional.logsigmoid(pairs.margin), totals, 1.0)


def orpo(*, weight: float = 0.1) -> Total:
    """ORPO: NLL(chosen) + ``weight`` · the odds-ratio loss; ``weight`` is the paper's λ.

    *Source*: arXiv:2403.07691, eq. 6. The NLL is the mean over the step's chosen-answer tokens. The original repository
    and TRL train the prompt's tokens in it too; here they are left out, as everywhere: ``loss_mask`` says what is
    trained. A length-normalised likelihood of 1 has no odds; see ``log_odds``.
    Metrics: those of ``OddsRatio`` and ``nll_chosen``. Raises: RecipeError for a weight not above 0 and finite.
    """
    if not 0 < weight < math.inf:
        raise RecipeError(
            f"orpo: weight is {weight}", why="at 0 the rejected answers teach nothing", do="use 0.05 to 1.0"
        )
    return Total(((1.0, ChosenCrossEntropy()), (weight, OddsRatio())))
