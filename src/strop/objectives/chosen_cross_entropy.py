"""Cross-entropy on the preferred answers of pairs only: the anchor that CPO, ORPO and RPO add to a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from strop.errors import RecipeError
from strop.objectives.aggregate import AGGREGATES
from strop.objectives.pairs import sides
from strop.types import Batch, Loss, Outputs

ChosenAggregate = Literal["token_mean", "sequence_mean", "sequence_sum"]


@dataclass(frozen=True, kw_only=True)
class ChosenCrossEntropy:
    """The negative log-likelihood of the chosen answers' trained tokens; the rejected ones get no gradient.

    ``token_mean``: - Σ_it m log p / Σ_it m over the chosen answers of the step; ``sequence_mean``: the mean over pairs
    of the answer's mean; ``sequence_sum``: the mean over pairs of the answer's sum, which is -log p(chosen).

    *Source*: the likelihood term of ORPO (arXiv:2403.07691, eq. 6), CPO (arXiv:2401.08417, section 3) and iterative RPO
    (arXiv:2404.19733, section 2), which differ in the aggregate only. Prompt tokens are never trained here.
    Reads pairs (see ``strop.objectives.pairs``). Differentiable in ``outputs.logprobs`` only.
    Metrics: ``nll_chosen``, the token mean whatever the aggregate, in nats.
    Raises: RecipeError for an unknown ``aggregate``.
    """

    aggregate: ChosenAggregate = "token_mean"
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if self.aggregate not in ("token_mean", "sequence_mean", "sequence_sum"):
            raise RecipeError(
                f"chosen cross-entropy: aggregate is {self.aggregate!r}",
                do="choose token_mean, sequence_mean or sequence_sum",
            )

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities of the tokens."""
        return frozenset({"logprobs"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``pairs`` with trained tokens in both answers, and ``chosen_tokens``, the trained ones of their chosen."""
        chosen, _ = sides(batch)
        return {"pairs": float(chosen.numel()), "chosen_tokens": float(_chosen_only(batch).loss_mask.sum())}

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        chosen_only, nll = _chosen_only(batch), -outputs.logprobs
        denominators = {"tokens": totals["chosen_tokens"], "sequences": totals["pairs"]}
        value = AGGREGATES[self.aggregate](nll, chosen_only, denominators, None)
        mean = AGGREGATES["token_mean"](nll.detach(), chosen_only, denominators, None)
        return Loss(value=value, metrics={"nll_chosen": mean})


def _chosen_only(batch: Batch) -> Batch:
    """The batch with the mask of the chosen answers of whole pairs."""
    chosen, _ = sides(batch)
    is_chosen = batch.loss_mask.new_zeros(batch.num_sequences)
    is_chosen[chosen] = True
    return replace(batch, loss_mask=batch.loss_mask & is_chosen[batch.sequence_ids])
