"""Contrastive preference optimization: DPO against a uniform reference, anchored by the chosen answer's likelihood."""

from __future__ import annotations

import math

from strop.errors import RecipeError
from strop.objectives.chosen_cross_entropy import ChosenAggregate, ChosenCrossEntropy
from strop.objectives.simpo import SimPO
from strop.objectives.total import Total


def cpo(*, beta: float = 0.1, weight: float = 1.0, aggregate: ChosenAggregate = "token_mean") -> Total:
    """CPO: - mean log σ(β (log p(chosen) - log p(rejected))) + ``weight`` · NLL(chosen), without a reference.

    *Source*: Xu et al. 2024 (arXiv:2401.08417), section 3. The comparison is DPO's with a uniform reference, on
    sums over the answer. The paper's NLL is that of the whole answer, ``sequence_sum``; its code
    and TRL take the mean over tokens, which is the default here. CPO-SimPO is the same sum with ``SimPO()``.
    Metrics: those of pairs and ``nll_chosen``. Raises: RecipeError for settings without a meaning.
    """
    if not 0 < weight < math.inf:
        raise RecipeError(
            f"cpo: weight is {weight}",
            why="the likelihood of the chosen answers is what keeps the policy in place, since there is no reference",
            do="use 1, the paper's; without the term the objective is SimPO(reduction='sum', gamma=0)",
        )
    comparison = SimPO(beta=beta, gamma=0.0, reduction="sum")
    return Total(((1.0, comparison), (weight, ChosenCrossEntropy(aggregate=aggregate))))
