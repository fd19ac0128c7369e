"""DPO with the likelihood of the chosen answers beside it, against likelihood displacement."""

from __future__ import annotations

import math

from strop.errors import RecipeError
from strop.objectives.chosen_cross_entropy import ChosenAggregate, ChosenCrossEntropy
from strop.objectives.dpo import DPO
from strop.objectives.total import Total


def rpo(*, beta: float = 0.1, weight: float = 1.0, aggregate: ChosenAggregate = "sequence_mean") -> Total:
    """DPO+SFT: DPO's loss + ``weight`` · NLL(chosen), each answer's NLL averaged over its tokens.

    *Source*: iterative RPO, Pang et al. 2024 (arXiv:2404.19733), section 2, whose α is ``weight`` and divides by the
    answer's length; ``token_mean`` is TRL's ``loss_type=["sigmoid", "sft"]``.
    Metrics: those of pairs and ``nll_chosen``. Raises: RecipeError for settings without a meaning.
    """
    if not 0 < weight < math.inf:
        raise RecipeError(
            f"rpo: weight is {weight}", why="without the likelihood term it is DPO", do="use 1, or DPO() without it"
        )
    return Total(((1.0, DPO(beta=beta)), (weight, ChosenCrossEntropy(aggregate=aggregate))))
