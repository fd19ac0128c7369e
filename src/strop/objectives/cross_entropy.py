"""Cross-entropy on the supervised tokens: continued pre-training, SFT, and every "keep what passed" method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from strop.errors import RecipeError
from strop.types import Batch, Loss, Outputs

TokenScale = Literal["one", "probability"]


def probability(logprobs: Tensor) -> Tensor:
    """sg(p(token)): the gradient of -sg(p) log p is that of -p, so rare tokens no longer dominate."""
    return logprobs.detach().exp()


TOKEN_SCALES: Mapping[TokenScale, Callable[[Tensor], Tensor]] = {"one": torch.ones_like, "probability": probability}


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """The negative log-likelihood of the supervised tokens, as one mean over the whole optimizer step.

    L = - Σ_t s_t w_t m_t log p(token_t | before) / Σ_t m_t, with m = ``loss_mask``, w = the stream ``weights`` (absent:
    1), and s = 1 or, with ``token_scale="probability"``, sg(p(token_t)): dynamic fine-tuning.
    A weight may differ for every token, be one a span, or one a sequence. It scales a token's term and not the
    denominator: halving every weight halves the gradient.

    *Source*: the maximum-likelihood objective of Radford et al. 2018, eq. 1, on the tokens of the answer only; dynamic
    fine-tuning: Wu et al. 2025 (arXiv:2508.05629), eq. 9.
    Differentiable in ``outputs.logprobs`` only. A batch without supervised tokens has loss 0 and gradient 0.
    Metrics: ``nll``, the unweighted mean in nats a token; perplexity is its exponential, taken after the sum.
    Raises: RecipeError for an unknown ``token_scale``.
    """

    token_scale: TokenScale = "one"
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if self.token_scale not in TOKEN_SCALES:
            raise RecipeError(
                f"cross-entropy: token_scale is {self.token_scale!r}",
                do=f"choose one of {', '.join(map(repr, TOKEN_SCALES))}",
            )

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities of the tokens."""
        return frozenset({"logprobs"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``tokens``: the supervised ones."""
        return {"tokens": float(batch.loss_mask.sum())}

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        num_tokens = max(totals["tokens"], 1.0)
        nll = -outputs.logprobs * batch.loss_mask
        scaled = nll * TOKEN_SCALES[self.token_scale](outputs.logprobs)
        if "weights" in batch.streams:
            scaled = scaled * batch.streams["weights"].detach()
        return Loss(value=scaled.sum() / num_tokens, metrics={"nll": nll.detach().sum() / num_tokens})


def dft() -> CrossEntropy:
    """Dynamic fine-tuning: cross-entropy scaled by the token's own detached probability. *Source*: arXiv:2508.05629."""
    return CrossEntropy(token_scale="probability")
