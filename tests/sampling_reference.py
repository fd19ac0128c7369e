"""Sampling as slowly and plainly as it can be written: no cache, no batch, ``transformers``' own processors.

What the engine must equal, whatever it does to be fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from strop.models import Policy
from strop.types import Completion, SamplingParams

NEAR = 1e-4


def processors(params: SamplingParams) -> LogitsProcessorList:
    """The processors that ``generate`` would make of the parameters, in its order."""
    chain = LogitsProcessorList()
    if params.logit_bias:
        chain.append(SequenceBiasLogitsProcessor({(t,): float(b) for t, b in params.logit_bias.items()}))
    if params.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    if params.temperature not in (0, 1):
        chain.append(TemperatureLogitsWarper(params.temperature))
    if params.temperature and params.top_k:
        chain.append(TopKLogitsWarper(params.top_k))
    if params.temperature and params.top_p < 1:
        chain.append(TopPLogitsWarper(params.top_p))
    if params.temperature and params.min_p:
        chain.append(MinPLogitsWarper(params.min_p))
    return chain


def distribution(logits: torch.Tensor, token_ids: Sequence[int], params: SamplingParams) -> torch.Tensor:
    """[V] float64 log-probabilities of the next token after ``token_ids``, drawn from at these ``logits [V]``."""
    ids = torch.tensor([list(token_ids)])
    return processors(params)(ids, logits[None].double())[0].log_softmax(-1)


@dataclass
class Reference:
    """A completion with what is needed to judge a difference."""

    token_ids: list[int]
    logprobs: list[float]
    full_logprobs: list[float]
    is_near: list[bool]
    """Whether another token would have been taken, had the numbers differed by 1e-4."""
    stopped: bool


@torch.no_grad()
def plain_loop(policy: Policy, prompt: Sequence[int], params: SamplingParams, seed: int) -> Reference:
    """The completion by one uncached forward a token."""
    numbers = np.random.Generator(np.random.Philox(key=seed)).random(params.max_new_tokens)
    found = Reference([], [], [], [], False)
    stops = {*policy.template.stop_token_ids, *params.stop_token_ids}
    for number in numbers:
        ids = [*prompt, *found.token_ids]
        logits = policy.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        logprobs = distribution(logits, ids, params)
        token, near = _choose(logprobs, None if params.temperature == 0 else float(number))
        near = near or _is_near_cut(logits, ids, params)
        found.token_ids.append(token)
        found.logprobs.append(logprobs[token].item())
        found.full_logprobs.append(logits.double().log_softmax(-1)[token].item())
        found.is_near.append(near)
        if token in stops:
            found.stopped = True
            break
    return found


def _choose(logprobs: torch.Tensor, number: float | None) -> tuple[int, bool]:
    if number is None:
        best = logprobs.topk(2)
        return int(best.indices[0]), bool(best.values[0] - best.values[1] < NEAR)
    edges = np.cumsum(logprobs.exp().numpy())
    token = int(np.searchsorted(edges, number * edges[-1], side="right"))
    return token, bool(np.abs(edges - number).min() < NEAR)


def _is_near_cut(logits: torch.Tensor, ids: Sequence[int], params: SamplingParams) -> bool:
    """Whether another set of tokens would be kept, had the numbers differed by 1e-4: a tie at the k-th, or at p."""
    if params.temperature == 0 or not (params.top_k or params.min_p or params.top_p < 1):
        return False
    whole = distribution(logits, ids, replace(params, top_k=0, top_p=1.0, min_p=0.0))
    kept = distribution(logits, ids, params).isfinite()
    if kept.any() and not kept.all() and whole[kept].min() - whole[~kept].max() < NEAR:
        return True
    # Equals of the k-th stay beside it, unless the numbers differ by the last bit.
    ordered = whole.sort(descending=True).values
    if 0 < params.top_k < len(ordered) and ordered[params.top_k - 1] - ordered[params.top_k] < NEAR:
        return True
    for factor in (1 - NEAR, 1 + NEAR):
        other = replace(params, top_p=min(1.0, params.top_p * factor), min_p=params.min_p * factor)
        if not torch.equal(distribution(logits, ids, other).isfinite(), kept):
            return True
    return False


def differences(completion: Completion, reference: Reference, tolerance: float = 5e-5) -> int:
    """0 where the completion is the reference; 1 where it leaves it at a near tie; AssertionError otherwise."""
    for t, token in enumerate(reference.token_ids):
        if t >= len(completion.token_ids) or completion.token_ids[t] != token:
            assert reference.is_near[t], f"token {t}: {completion.token_ids[t : t + 1]} instead of {token}"
            return 1
        if abs(completion.sampler_logprobs[t] - reference.logprobs[t]) >= tolerance:
            assert reference.is_near[t], f"logprob of token {t}"
            return 1
        if completion.full_logprobs is not None:
            assert abs(completion.full_logprobs[t] - reference.full_logprobs[t]) < tolerance
    assert len(completion.token_ids) == len(reference.token_ids)
    assert (completion.finish_reason == "stop") == reference.stopped
    return 0
