"""Log-probabilities and entropies of the next token: from logits, and from hidden states without all logits."""

from __future__ import annotations

import functools

from torch import Tensor
from torch.nn import functional

from strop.fused.rows import MAX_BYTES, by_rows


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    token_ids: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    entropy: bool = False,
    max_bytes: int = MAX_BYTES,
) -> tuple[Tensor, ...]:
    """``logprobs_of`` the logits ``hidden @ weight.T + bias``, computed in chunks: ``[M]`` each.

    Shapes: ``hidden [M, H]``, ``weight [V, H]``, ``token_ids [M]`` int64, ``bias [V]``.
    Differentiable in ``hidden``, ``weight`` and ``bias``.
    """
    function = functools.partial(logprobs_of, temperature=temperature, entropy=entropy)
    return by_rows(function, hidden, weight, token_ids, bias=bias, max_bytes=max_bytes)


def logprobs_of(logits: Tensor, token_ids: Tensor, *, temperature: float, entropy: bool) -> tuple[Tensor, ...]:
    """log softmax(``logits`` / ``temperature``) at ``token_ids``, and if asked the entropy: ``[M, V]`` → ``[M]`` each.

    H = - Σ_v p_v log p_v, in nats. Differentiable in ``logits``.
    """
    if temperature != 1.0:
        logits = logits / temperature
    if not entropy:
        return (-functional.cross_entropy(logits, token_ids, reduction="none"),)
    every = logits.log_softmax(1)
    return every.gather(1, token_ids[:, None])[:, 0], -(every.exp() * every).sum(1)
