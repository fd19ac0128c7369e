"""Drawing one token a row from logits: temperature, top-k, top-p, and randomness that belongs to the row alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from strop.errors import RecipeError
from strop.types import SamplingParams


def check_params(params: SamplingParams) -> None:
    """Refuse settings that name no distribution. Raises: RecipeError."""
    refusals = [
        (params.max_new_tokens < 1, f"max_new_tokens = {params.max_new_tokens}", "set it to at least 1"),
        (not 0 <= params.temperature < float("inf"), f"temperature = {params.temperature}", "use 0 (greedy) or more"),
        (not 0 < params.top_p <= 1, f"top_p = {params.top_p}", "use a share above 0 and at most 1"),
        (params.top_k < 0, f"top_k = {params.top_k}", "use 0 (keep all) or more"),
    ]
    for refused, what, do in refusals:
        if refused:
            raise RecipeError(f"cannot sample with {what}", where="sampling parameters", do=do)


def uniforms(seeds: Sequence[int], num_draws: int) -> Tensor:
    """The uniform numbers in [0, 1) of each row, [B, num_draws] float64: row i depends on ``seeds[i]`` only.

    Draw t of a row is the upper 53 bits of the t-th word of a Philox generator keyed by its seed (*Source*: Salmon et
    al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): neither its companions nor another NumPy can change it.
    """
    words = [np.random.Philox(key=seed & (2**128 - 1)).random_raw(num_draws) for seed in seeds]
    return torch.from_numpy((np.stack(words) >> 11) * 2.0**-53)


def keep_top_k(logprobs: Tensor, top_k: int) -> Tensor:
    """``logprobs [B, V]`` with -inf where a token is less likely than the k-th; ties with the k-th stay."""
    threshold = logprobs.topk(min(top_k, logprobs.shape[-1]), dim=-1).values[:, -1:]
    return logprobs.masked_fill(logprobs < threshold, -torch.inf)


def keep_top_p(logprobs: Tensor, top_p: float) -> Tensor:
    """``logprobs [B, V]`` with -inf outside the smallest set of most likely tokens whose mass reaches ``top_p``.

    *Source*: Holtzman et al. 2020, "The curious case of neural text degeneration", equation 2.
    """
    ordered, order = logprobs.sort(dim=-1, descending=True, stable=True)
    mass_before = ordered.exp().cumsum(-1) - ordered.exp()
    dropped = torch.zeros_like(mass_before, dtype=torch.bool).scatter(-1, order, mass_before >= top_p)
    return logprobs.masked_fill(dropped, -torch.inf)


def sampling_logprobs(logits: Tensor, params: SamplingParams) -> Tensor:
    """The log-distribution that is drawn from, [B, V] float64: tempered, cut to top-k, then to top-p, renormalised.

    For greedy decoding (``temperature == 0``) it is the full distribution at temperature 1, which is what a later ratio
    can use; a point mass would carry no information.
    """
    logprobs = (logits.double() / (params.temperature or 1.0)).log_softmax(-1)
    if params.temperature > 0 and params.top_k > 0:
        logprobs = keep_top_k(logprobs, params.top_k).log_softmax(-1)
    if params.temperature > 0 and params.top_p < 1:
        logprobs = keep_top_p(logprobs, params.top_p).log_softmax(-1)
    return logprobs


def draw(logits: Tensor, params: SamplingParams, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability under ``sampling_logprobs``.

    Inverse CDF in the order of the token ids: the first token whose cumulative probability exceeds ``uniform``; greedy
    takes the most likely token. Shapes: ``logits [B, V]``, ``uniform [B]`` float64 in [0, 1); results ``[B]`` int64 and
    ``[B]`` float64 in nats, NaN where the logits were not finite.
    """
    logprobs = sampling_logprobs(logits, params)
    if params.temperature == 0:
        tokens = logits.argmax(-1)
    else:
        cumulative = logprobs.exp().cumsum(-1)
        total = cumulative[:, -1]
        # The product may round up to the total itself, which no token exceeds.
        target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
        tokens = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]
