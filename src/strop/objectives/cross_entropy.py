"""Cross-entropy on the supervised tokens: continued pre-training, SFT, and every "keep what passed" method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """The negative log-likelihood of the supervised tokens, as one mean over the whole optimizer step.

    L = - Σ_t w_t m_t log p(token_t | before) / Σ_t m_t, with m = ``loss_mask`` and w = the stream ``weights``, else 1.
    A weight scales a token's term and not the denominator: halving every weight halves the gradient.

    *Source*: the maximum-likelihood objective of Radford et al. 2018, eq. 1, on the tokens of the answer only.
    Differentiable in ``outputs.logprobs`` only. A batch without supervised tokens has loss 0 and gradient 0.
    Metrics: ``nll``, the unweighted mean in nats a token; perplexity is its exponential, taken after the sum.
    """

    temperature: float = field(default=1.0, init=False)

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
        weighted = nll * batch.streams["weights"].detach() if "weights" in batch.streams else nll
        return Loss(value=weighted.sum() / num_tokens, metrics={"nll": nll.detach().sum() / num_tokens})
