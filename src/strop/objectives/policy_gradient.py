"""The policy gradient as a product of independent axes: surrogate × ratio × aggregation × KL.

GRPO and Dr. GRPO are points of this space; where the advantages come from is the business of ``strop.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from strop.errors import RecipeError
from strop.objectives.aggregate import AGGREGATES, Aggregate, denominators
from strop.objectives.kl import KL, KLS, k3
from strop.objectives.ratio import MAX_LOG_RATIO, RATIOS, Ratio
from strop.objectives.surrogate import SURROGATES, Surrogate, is_clipped
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class PolicyGradient:
    """aggregate_t [ surrogate(ρ_t, A_t) + β KL_t ], from samples with their advantages.

    *Source*: the file of each axis. Reads the streams ``advantages [N]``, ``old_logprobs [N]`` (absent: the samples are
    the policy's own, ρ = 1 with the gradient of log p) and, with ``kl``, ``ref_logprobs [N]``.
    Differentiable in ``outputs.logprobs`` only; streams are constants. Where A is 0 only the KL term has a gradient.
    The value on-policy is near 0 while the gradient is not: watch the rewards, not the loss.
    Metrics, token means over the step: ``ratio``; ``clip_fraction`` and its sides ``_low``, ``_high``; ``approx_kl``,
    the k3 estimate of KL(old || policy); ``entropy`` when the outputs hold it; ``ref_kl``, the penalty, with ``kl``.
    Raises: RecipeError for a setting that contradicts another.
    """

    surrogate: Surrogate = "clip"
    ratio: Ratio = "token"
    aggregate: Aggregate = "sequence_mean"
    clip_low: float = 0.2
    clip_high: float = 0.2
    constant_length: int | None = None
    """The run's fixed L_max for ``aggregate="constant"``, never the longest of a batch."""
    kl: KL | None = None
    beta: float = 0.0
    """The coefficient of the KL term."""
    temperature: float = 1.0
    """That of the sampling: log-probabilities are of the distribution that was sampled from."""

    def __post_init__(self) -> None:
        for axis, value, choices in (
            ("surrogate", self.surrogate, tuple(SURROGATES)),
            ("ratio", self.ratio, tuple(RATIOS)),
            ("aggregate", self.aggregate, tuple(AGGREGATES)),
            ("kl", self.kl, (None, *KLS)),
        ):
            _require(value in choices, f"{axis} is {value!r}", f"choose one of {', '.join(map(repr, choices))}")
        _require(
            0 < self.clip_low <= 1 and self.clip_high > 0,
            "the clip range is empty",
            "use 0 < clip_low <= 1, clip_high > 0",
        )
        _require((self.kl is None) == (self.beta == 0), f"kl={self.kl!r} with beta={self.beta}", "give both or neither")
        _require(self.beta >= 0, f"beta is {self.beta}", "a negative one rewards drift; use 0 or more")
        _require(
            self.temperature > 0,
            f"temperature is {self.temperature}",
            "sample above 0: greedy samples have no gradient",
        )
        _require(
            (self.aggregate == "constant") == (self.constant_length is not None),
            f"aggregate={self.aggregate!r} with constant_length={self.constant_length}",
            'give constant_length (the maximum completion length of the run) with aggregate="constant" and only there',
        )
        _require(
            self.constant_length is None or self.constant_length > 0, "constant_length is not positive", "use the L_max"
        )

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities, and the entropy whose fall announces a collapse."""
        return frozenset({"logprobs", "entropy"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``tokens`` that are trained and ``sequences`` that have some."""
        return denominators(batch)

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's value."""
        mask, streams = batch.loss_mask, batch.streams
        logprobs, advantages = outputs.logprobs, streams["advantages"].detach()
        old_logprobs = streams.get("old_logprobs", logprobs).detach()
        log_ratio = RATIOS[self.ratio](logprobs - old_logprobs, batch)
        ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        losses = SURROGATES[self.surrogate](ratio, logprobs, advantages, self.clip_low, self.clip_high)
        measured = self._measure(ratio.detach(), advantages)
        measured["approx_kl"] = k3(old_logprobs - logprobs.detach())
        if outputs.entropy is not None:
            measured["entropy"] = outputs.entropy.detach()
        if self.kl is not None:
            penalty = KLS[self.kl](logprobs - streams["ref_logprobs"].detach())
            losses = losses + self.beta * penalty
            measured["ref_kl"] = penalty.detach()
        num_tokens = max(totals["tokens"], 1.0)
        return Loss(
            value=AGGREGATES[self.aggregate](losses, batch, totals, self.constant_length),
            metrics={name: (values * mask).sum() / num_tokens for name, values in measured.items()},
        )

    def _measure(self, ratio: Tensor, advantages: Tensor) -> dict[str, Tensor]:
        measured = {"ratio": ratio}
        if self.surrogate == "clip":
            low, high = is_clipped(ratio, advantages, self.clip_low, self.clip_high)
            sides = {"clip_fraction": low | high, "clip_fraction_low": low, "clip_fraction_high": high}
            measured |= {name: side.to(ratio.dtype) for name, side in sides.items()}
        return measured


def _require(holds: bool, what: str, do: str) -> None:
    if not holds:
        raise RecipeError(f"policy gradient: {what}", do=do)


def grpo(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl: KL | None = None,
    beta: float = 0.0,
    temperature: float = 1.0,
) -> PolicyGradient:
    """GRPO's objective: token ratio, clip, mean over sequences of token means. *Source*: arXiv:2402.03300, eq. 3.

    Its advantages are ``credit.group_advantages(..., scale="std")``.
    """
    return PolicyGradient(
        aggregate="sequence_mean", clip_low=clip_low, clip_high=clip_high, kl=kl, beta=beta, temperature=temperature
    )


def dr_grpo(
    *, constant_length: int, clip_low: float = 0.2, clip_high: float = 0.2, temperature: float = 1.0
) -> PolicyGradient:
    """Dr. GRPO's objective: GRPO's, every token divided by the same constant. *Source*: arXiv:2503.20783, section 3.2.

    Its advantages are ``credit.group_advantages(..., scale=None)``.
    """
    return PolicyGradient(
        aggregate="constant",
        constant_length=constant_length,
        clip_low=clip_low,
        clip_high=clip_high,
        temperature=temperature,
    )
