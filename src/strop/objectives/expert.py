"""Policy shaping for tokens that an expert wrote into a group of the policy's own samples."""

from __future__ import annotations

import math

from torch import Tensor


def shaped(logprobs: Tensor, advantages: Tensor, gamma: float) -> Tensor:
    """-A f(p) at every token, f(p) = p / (p + γ), without a ratio to any old policy and without a clip: ``[N]``.

    *Source*: LUFFY (arXiv:2504.14945), policy shaping. The expert's own probability counts as 1, so no expert logits
    are needed. Computed as σ(log p - log γ), which is finite for every p.
    Differentiable in ``logprobs``: the weight on ∇ log p is A γ p / (p + γ)², against A p unshaped. Its peak, A / 4, is
    at p = γ; as p → 0 it is A p / γ, so a token that the policy hardly believes in teaches 1 / γ times as much; as
    p → 1 it falls to A γ / (1 + γ)².
    """
    return -advantages * (logprobs - math.log(gamma)).sigmoid()
