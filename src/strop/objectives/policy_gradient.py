"""The policy gradient as a product of independent axes: surrogate × ratio × aggregation × KL, and what may be added.

The named methods (``named.py``) are points of this space; where the advantages come from is the business of
``strop.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from strop.batches import stream_of
from strop.errors import RecipeError
from strop.objectives.aggregate import AGGREGATES, Aggregate, denominators
from strop.objectives.expert import shaped
from strop.objectives.importance import ImportanceCorrection
from strop.objectives.kl import KL, KL_WEIGHTS, KLS, KLWeight, k3
from strop.objectives.ratio import MAX_LOG_RATIO, RATIOS, Ratio
from strop.objectives.surrogate import CLIPPED, DEFAULT_BOUNDS, SURROGATES, Bounds, Surrogate
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class PolicyGradient:
    """aggregate_t [ w_t surrogate(ρ_t, A_t) + β KL_t - c_e H_t ], from samples with their advantages.

    *Source*: the file of each axis. Reads the streams ``advantages [N]``, ``old_logprobs [N]`` (absent: the samples are
    the policy's own, ρ = 1 with the gradient of log p), with ``kl`` ``ref_logprobs [N]``, with ``correction``
    ``sampler_logprobs [N]``, with ``expert_gamma`` ``is_expert [N]``; old and sampler are not read at expert tokens.
    Differentiable in ``outputs.logprobs``, and with ``entropy_weight`` in ``outputs.entropy``; streams are constants.
    Where A is 0 only the KL and the entropy have a gradient. The value on-policy is near 0 while the gradient is not:
    watch the rewards, not the loss.
    Metrics, token means over the step: ``ratio``; ``clip_fraction`` and its sides ``_low``, ``_high``, ``_dual``, for
    surrogates that have them; ``approx_kl``, the k3 estimate of KL(old || policy); ``entropy`` if the outputs hold it;
    ``ref_kl``, the penalty, with ``kl``; those of the correction; ``expert_share`` with ``expert_gamma``.
    Raises: RecipeError for a setting that contradicts another or has no effect.
    """

    surrogate: Surrogate = "clip"
    ratio: Ratio = "token"
    aggregate: Aggregate = "sequence_mean"
    clip_low: float | None = None
    """ε_low; None: the surrogate's own (``DEFAULT_BOUNDS``): 0.2, and no lower bound for ``"cispo"``."""
    clip_high: float | None = None
    """ε_high; None: the surrogate's own, 0.2, and 4 for ``"cispo"``."""
    dual_clip: float | None = None
    """c > 1 of ``surrogate="dual_clip"``; None: 3."""
    constant_length: int | None = None
    """The run's fixed L_max for ``aggregate="constant"``, never the longest of a batch."""
    kl: KL | None = None
    beta: float = 0.0
    """The coefficient of the KL term."""
    kl_weight: KLWeight = "one"
    """``"ratio"`` multiplies the KL by ρ with its gradient: right for samples of an older policy; see ``kl.py``."""
    entropy_weight: float = 0.0
    """c_e ≥ 0: how much a nat of entropy is worth, aggregated as the surrogate is."""
    correction: ImportanceCorrection | None = None
    """w, where the sampler is not quite the old policy; KL and entropy are not weighted."""
    expert_gamma: float | None = None
    """γ of the policy shaping of expert tokens; None: no token is an expert's."""
    temperature: float = 1.0
    """That of the sampling: log-probabilities are of the distribution that was sampled from."""

    def __post_init__(self) -> None:
        for axis, value, choices in (
            ("surrogate", self.surrogate, tuple(SURROGATES)),
            ("ratio", self.ratio, tuple(RATIOS)),
            ("aggregate", self.aggregate, tuple(AGGREGATES)),
            ("kl", self.kl, (None, *KLS)),
            ("kl_weight", self.kl_weight, tuple(KL_WEIGHTS)),
        ):
            _require(value in choices, f"{axis} is {value!r}", f"choose one of {', '.join(map(repr, choices))}")
        self._check_bounds()
        _require((self.kl is None) == (self.beta == 0), f"kl={self.kl!r} with beta={self.beta}", "give both or neither")
        _require(0 <= self.beta < inf, f"beta is {self.beta}", "a negative one rewards drift; use 0 or more")
        _require(self.kl is not None or self.kl_weight == "one", "kl_weight without kl", "give kl and beta too")
        _require(0 <= self.entropy_weight < inf, f"entropy_weight is {self.entropy_weight}", "use 0 or a little more")
        gamma = self.expert_gamma
        _require(gamma is None or 0 < gamma < inf, f"expert_gamma is {gamma}", "use 0.1, or None without expert tokens")
        _require(
            0 < self.temperature < inf,
            f"temperature is {self.temperature}",
            "sample above 0: greedy samples have no gradient",
        )
        length = self.constant_length
        _require(
            (self.aggregate == "constant") == (length is not None),
            f"aggregate={self.aggregate!r} with constant_length={length}",
            'give constant_length (the maximum completion length of the run) with aggregate="constant" and only there',
        )
        _require(length is None or 0 < length < inf, f"constant_length is {length}", "use the run's L_max")

    def _check_bounds(self) -> None:
        for name, value in self._given_bounds().items():
            _require(
                name in DEFAULT_BOUNDS[self.surrogate],
                f"{name}={value} has no effect with surrogate={self.surrogate!r}",
                "leave it out, or choose a surrogate that reads it",
            )
            _require(
                self.ratio != "none",
                f'{name}={value} has no effect with ratio="none"',
                "leave it out, or choose a ratio: without one there is nothing to clip",
            )
        low, high, c = self.clip_low, self.clip_high, self.dual_clip
        _require(low is None or 0 < low <= 1, f"clip_low is {low}", "use 0 < clip_low <= 1")
        _require(high is None or high > 0, f"clip_high is {high}", "use clip_high > 0")
        _require(c is None or 1 < c < inf, f"dual_clip is {c}", "use a c above 1, such as 3")

    def _given_bounds(self) -> dict[str, float]:
        bounds = {"clip_low": self.clip_low, "clip_high": self.clip_high, "dual_clip": self.dual_clip}
        return {name: value for name, value in bounds.items() if value is not None}

    @property
    def bounds(self) -> Bounds:
        """The surrogate's bounds: the given ones, and its own where none are given."""
        return Bounds(**{**DEFAULT_BOUNDS[self.surrogate], **self._given_bounds()})

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities, and the entropy whose fall announces a collapse."""
        return frozenset({"logprobs", "entropy"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``tokens`` that are trained and ``sequences`` that have some."""
        return denominators(batch)

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's value."""
        logprobs, advantages = outputs.logprobs, stream_of(batch, "advantages").detach()
        is_expert = self._is_expert(batch)
        chosen = replace(batch, loss_mask=batch.loss_mask & ~is_expert)
        known = batch.streams.get("old_logprobs", logprobs).detach()
        old_logprobs = torch.where(is_expert, logprobs.detach(), known)
        log_ratio = RATIOS[self.ratio](logprobs - old_logprobs, chosen)
        ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        losses = SURROGATES[self.surrogate](ratio, logprobs, advantages, self.bounds)
        measured = self._measure(ratio.detach(), advantages)
        measured["approx_kl"] = k3(old_logprobs - logprobs.detach())
        if self.correction is not None:
            sampler_logprobs = torch.where(is_expert, old_logprobs, stream_of(batch, "sampler_logprobs"))
            weights, gaps = self.correction(old_logprobs, sampler_logprobs, chosen)
            losses = losses * weights
            measured |= gaps
        if self.expert_gamma is not None:
            losses = torch.where(is_expert, shaped(logprobs, advantages, self.expert_gamma), losses)
            measured["expert_share"] = is_expert.to(losses.dtype)
        losses = losses + self._regularize(outputs, batch, ratio, measured)
        num_tokens = max(totals["tokens"], 1.0)
        return Loss(
            value=AGGREGATES[self.aggregate](losses, batch, totals, self.constant_length),
            metrics={name: (values * batch.loss_mask).sum() / num_tokens for name, values in measured.items()},
        )

    def _is_expert(self, batch: Batch) -> Tensor:
        if self.expert_gamma is None:
            return torch.zeros_like(batch.loss_mask)
        return stream_of(batch, "is_expert") > 0

    def _measure(self, ratio: Tensor, advantages: Tensor) -> dict[str, Tensor]:
        sides = CLIPPED[self.surrogate](ratio, advantages, self.bounds)
        measured = {f"clip_fraction_{name}": side.to(ratio.dtype) for name, side in sides.items()}
        if measured:
            measured["clip_fraction"] = torch.stack(list(measured.values())).sum(0)
        return measured | {"ratio": ratio}

    def _regularize(self, outputs: Outputs, batch: Batch, ratio: Tensor, measured: dict[str, Tensor]) -> Tensor:
        """β KL - c_e H of every token, [N]; both are measured on the way."""
        losses = torch.zeros_like(outputs.logprobs)
        if self.kl is not None:
            estimate = KLS[self.kl](outputs.logprobs - stream_of(batch, "ref_logprobs").detach())
            penalty = KL_WEIGHTS[self.kl_weight](ratio) * estimate
            losses = losses + self.beta * penalty
            measured["ref_kl"] = penalty.detach()
        if outputs.entropy is not None:
            measured["entropy"] = outputs.entropy.detach()
        if self.entropy_weight:
            assert outputs.entropy is not None, "the entropy was asked for"
            losses = losses - self.entropy_weight * outputs.entropy
        return losses


def _require(holds: bool, what: str, do: str) -> None:
    if not holds:
        raise RecipeError(f"policy gradient: {what}", do=do)
