"""Of which distribution a server reports log-probabilities, found by trying: many report the model's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import httpx

from strop.sampling.remote.completions import only_choice
from strop.sampling.remote.transport import Fault, part, read_json
from strop.types import SamplingParams

Reporting = Literal["tempered", "untempered", "unclear"]
"""Tempered: of the distribution that is sampled from."""
NUM_LIKELY = 5
"""How many of the likeliest tokens are asked for."""


def reporting_of(likely: Callable[[SamplingParams], Mapping[str, float]]) -> Reporting:
    """What ``likely``, the likeliest next tokens of one prompt with their log-probabilities, shows.

    At temperature 1/2 the log-probabilities of the same two tokens must lie 4 times as far apart as at 2, and top_p
    must leave a single token all the mass.
    """
    sharp = _descending(likely(SamplingParams(max_new_tokens=1, temperature=0.5)))
    flat = _descending(likely(SamplingParams(max_new_tokens=1, temperature=2.0)))
    cut = _descending(likely(SamplingParams(max_new_tokens=1, temperature=2.0, top_p=1e-6)))
    ratio = (sharp[0] - sharp[-1]) / max(flat[0] - flat[-1], 1e-9)
    if sharp[0] - sharp[-1] < 1e-2 or flat[0] > -1e-2:
        return "unclear"
    return "tempered" if ratio > 2 and cut[0] > -1e-3 else "untempered"


def _descending(likely: Mapping[str, float]) -> list[float]:
    return sorted(likely.values(), reverse=True)[:NUM_LIKELY]


async def read_likely(response: httpx.Response) -> Mapping[str, float]:
    """The likeliest tokens of a completion's first place with their log-probabilities. Raises: Fault."""
    choice = only_choice(await read_json(response))
    found = (part(part(choice, "logprobs", dict) or {}, "top_logprobs", list) or [None])[0]
    if not isinstance(found, dict) or not found or not all(type(value) in (int, float) for value in found.values()):
        raise Fault("no logprobs", "the server answers without the likeliest tokens", is_server_wide=True)
    return {str(token): float(value) for token, value in found.items()}
