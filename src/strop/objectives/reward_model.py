"""The Bradley-Terry reward model: a scalar head that scores the better answer of a pair higher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from strop.errors import RecipeError
from strop.objectives.pairs import PairObjective, sides
from strop.segments import segment_last
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class BradleyTerry(PairObjective):
    """The negative log-likelihood of the stated preferences under P(y+ better) = σ(r+ - r-), as one mean over pairs.

    L = mean [ - log σ(r+ - r- - margin) + c (r+ + r-)² ], r = ``outputs.scores`` at a sequence's last trained token.

    *Source*: Ouyang et al. 2022, InstructGPT (arXiv:2203.02155), eq. 1; margins: Touvron et al. 2023, Llama 2
    (arXiv:2307.09288), eq. 2; centring: Eisenstein et al. 2023 (arXiv:2312.09244), eq. 5.
    Only r+ - r- is fixed by preferences: every prompt could add a constant of its own. c keeps both scores around 0.
    Reads ``outputs.scores [N]``, the facts ``group_ids [S]`` (one id a pair) and ``preferred [S]``, and, where there,
    ``margins [S]``: by how much the preferred row should lead (that of the other row is not read). The two sequences of
    a pair stand next to each other. Train the answer's tokens, its end included: a truncated answer has its last token.
    InstructGPT's C(K, 2) pairs of a prompt are C(K, 2) pairs here, in one batch; with the same K for every prompt this
    mean is theirs, with different K draw equally many pairs a prompt, or long rankings weigh more.
    Differentiable in ``outputs.scores`` at last trained tokens only: dL/dr+ = - σ(r- - r+ + margin) + 2c (r+ + r-).
    A pair with an answer that has no trained token counts nowhere. With equal scores of 0 and no margin L = ln 2.
    Metrics, means over pairs: ``accuracy`` (share with r+ > r-; a tie is half), ``margin`` (r+ - r-), ``score`` (of
    both).
    Raises: RecipeError for c < 0.
    """

    center: float = 0.01
    """c, the weight of the squared sum of both scores."""
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.center < math.inf:
            raise RecipeError(
                f"reward model: center is {self.center}",
                why="below 0 it drives the scores apart without end",
                do="use 0.01, or 0 for none",
            )

    @property
    def needs(self) -> frozenset[str]:
        """The scalar head's scores."""
        return frozenset({"scores"})

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        assert outputs.scores is not None, "the policy was not asked for scores"
        chosen, rejected = sides(batch)
        num_pairs = max(totals["pairs"], 1.0)
        scores = segment_last(outputs.scores, batch.loss_mask, batch.sequence_ids, batch.num_sequences)
        lead, both = scores[chosen] - scores[rejected], scores[chosen] + scores[rejected]
        margins = batch.facts["margins"].detach()[chosen] if "margins" in batch.facts else torch.zeros_like(lead)
        losses = self.center * both.square() - functional.logsigmoid(lead - margins)
        measured = {"accuracy": (lead.sign() + 1) / 2, "margin": lead, "score": both / 2}
        return Loss(
            value=losses.sum() / num_pairs,
            metrics={name: value.detach().sum() / num_pairs for name, value in measured.items()},
        )
