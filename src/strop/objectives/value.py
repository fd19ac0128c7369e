"""The critic's side of an actor-critic step: values toward returns, with a bound on how far one step may move them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from strop.batches import stream_of
from strop.errors import RecipeError
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class ValueLoss:
    """Half the squared error of the values, the worse of the free and the clipped one, as a mean over trained tokens.

    L = 0.5 · mean_t max((V_t - R_t)², (V_old,t + clip(V_t - V_old,t, ± ε) - R_t)²), ε = ``clip`` (None: free only)

    *Source*: Schulman et al. 2016 (arXiv:1506.02438), section 5; the clip is of OpenAI's PPO, described by Engstrom et
    al. 2020, "Implementation matters in deep policy gradients" (arXiv:2005.12729), section 3.
    Reads the streams ``returns [N]`` (advantages plus values, taken before any whitening) and, with ``clip``,
    ``old_values [N]``. Differentiable in ``outputs.values`` only: V - R a token, and 0 where the clipped error is the
    larger one, that is where V has moved by more than ε toward R and stands closer to R than the bound does.
    Metrics, token means over the step: ``value_error`` (V - R), ``value_error_square``, ``return``,
    ``return_square``, from which ``step_explained_variance`` follows; ``value_clip_fraction`` with ``clip``.
    Raises: RecipeError for a clip range or temperature that is not above 0.
    """

    clip: float | None = 0.2
    temperature: float = 1.0
    """That of the policy beside it; values do not depend on it."""

    def __post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip < inf:
            raise RecipeError(
                f"value loss: clip is {self.clip}",
                why="at 0 no value may move; without end there is nothing to clip",
                do="use 0.2, or None for no clip",
            )
        if not 0 < self.temperature < inf:
            raise RecipeError(f"value loss: temperature is {self.temperature}", do="use the policy's, above 0")

    @property
    def needs(self) -> frozenset[str]:
        """Values before each token."""
        return frozenset({"values"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``tokens`` that are trained."""
        return {"tokens": float(batch.loss_mask.sum())}

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        values, returns = outputs.values, stream_of(batch, "returns").detach()
        assert values is not None, "the policy has no critic"
        error = values - returns
        squares = error.square()
        measured = {"value_error": error, "value_error_square": squares, "return": returns}
        measured["return_square"] = returns.square()
        losses = squares
        if self.clip is not None:
            old_values = stream_of(batch, "old_values").detach()
            moved = (values - old_values).clamp(-self.clip, self.clip)
            losses = torch.maximum(squares, (old_values + moved - returns).square())
            measured["value_clip_fraction"] = (losses > squares).to(values.dtype)
        num_tokens = max(totals["tokens"], 1.0)
        return Loss(
            value=0.5 * _sum(losses, batch) / num_tokens,
            metrics={name: _sum(found.detach(), batch) / num_tokens for name, found in measured.items()},
        )


def _sum(values: Tensor, batch: Batch) -> Tensor:
    return (values * batch.loss_mask).sum()


def step_explained_variance(metrics: Mapping[str, float]) -> float | None:
    """1 - Var(R - V) / Var(R) over a step, from the summed metrics of ``ValueLoss``; None where all returns are equal
    (a variance within 1e-6 of E[R²], which sums of squares in float32 cannot tell from none).

    1: the critic knows the returns; 0: it knows no more than a constant would; below: it is worse than one.
    *Source*: the diagnostic that OpenAI's baselines log. Variances over the step's tokens, without Bessel's correction.
    """
    variance = metrics["return_square"] - metrics["return"] ** 2
    if variance <= 1e-6 * metrics["return_square"]:
        return None
    return 1 - (metrics["value_error_square"] - metrics["value_error"] ** 2) / variance
