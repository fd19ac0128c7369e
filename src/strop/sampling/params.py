"""Which sampling parameters make sense: what names no distribution, contradicts itself or has no effect is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isfinite
from numbers import Integral, Real

from strop.errors import PromptError, RecipeError
from strop.types import SamplingParams

_LEAST, _MOST = 1e-6, 1e6
"""Of what logits are multiplied with or divided by: beyond, they leave the range of float32."""
_MOST_BIAS = 1e20
_WHOLE = ("max_new_tokens", "top_k")
_NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "deadline_s")


def check_params(
    params: SamplingParams, vocab_size: int | None = None, stop_token_ids: Sequence[int] | None = None
) -> None:
    """Refuse settings that name no distribution, contradict each other, or have no effect. Raises: RecipeError.

    With ``vocab_size`` the token ids are checked too, with the template's ``stop_token_ids`` whether an end is left.
    """
    _refuse(_kinds(params))
    _refuse(_refusals(params, inf if vocab_size is None else vocab_size))
    _refuse(_endless(params, stop_token_ids or ()))


def _refuse(refusals: Iterator[tuple[bool, str, str, str]]) -> None:
    for refused, what, why, do in refusals:
        if refused:
            raise RecipeError(f"cannot sample with {what}", where="sampling parameters", why=why, do=do)


def _kinds(params: SamplingParams) -> Iterator[tuple[bool, str, str, str]]:
    for name in _WHOLE:
        value: object = getattr(params, name)
        yield not isinstance(value, Integral), f"{name} = {value!r}", "it is no whole number", "use a whole number"
    for name in _NUMBERS:
        value = getattr(params, name)
        is_unset = name == "deadline_s" and value is None
        yield not is_unset and not isinstance(value, Real), f"{name} = {value!r}", "it is no number", "use a number"
    for token in (*params.logit_bias, *params.stop_token_ids):
        odd = not isinstance(token, Integral)
        yield odd, f"the token {token!r}", "a token id is a whole number", "use an id of the vocabulary"
    for token, bias in params.logit_bias.items():
        yield not isinstance(bias, Real), f"logit_bias[{token}] = {bias!r}", "it is no number", "use a number"


def _refusals(params: SamplingParams, num_ids: float) -> Iterator[tuple[bool, str, str, str]]:
    yield params.max_new_tokens < 1, f"max_new_tokens = {params.max_new_tokens}", "", "set it to at least 1"
    heat = params.temperature
    yield (
        heat != 0 and not _LEAST <= heat <= _MOST,
        f"temperature = {heat}",
        "logits divided by it would mean nothing",
        f"use 0 (greedy) or a number from {_LEAST:g} to {_MOST:g}",
    )
    yield not 0 < params.top_p <= 1, f"top_p = {params.top_p}", "", "use a share above 0 and at most 1"
    yield params.top_k < 0, f"top_k = {params.top_k}", "", "use 0 (keep all) or more"
    yield not 0 <= params.min_p < 1, f"min_p = {params.min_p}", "", "use a share of at least 0 and below 1"
    penalty = params.repetition_penalty
    yield (
        not _LEAST <= penalty <= _MOST,
        f"repetition_penalty = {penalty}",
        "",
        f"use 1 (none) or another number from {_LEAST:g} to {_MOST:g}",
    )
    deadline = params.deadline_s
    yield deadline is not None and not deadline > 0, f"deadline_s = {deadline}", "it is over at once", "use seconds > 0"
    yield isinstance(params.stop, str), f"stop = {params.stop!r}", "each of its letters would stop", "give a tuple"
    yield "" in params.stop, "an empty stop text", "it stands at the start of every completion", "leave it out"
    for token, bias in params.logit_bias.items():
        yield not 0 <= token < num_ids, f"logit_bias for token {token}", _range(num_ids), "use an id of the vocabulary"
        yield (
            not (abs(bias) <= _MOST_BIAS or bias == -inf),
            f"logit_bias[{token}] = {bias}",
            "",
            f"use a number from {-_MOST_BIAS:g} to {_MOST_BIAS:g}, or -inf to ban",
        )
    num_banned = sum(bias == -inf for bias in params.logit_bias.values())
    yield num_banned >= num_ids, "logit_bias = -inf for every token", "none is left to draw", "leave one out"
    for token in params.stop_token_ids:
        yield not 0 <= token < num_ids, f"stop token {token}", _range(num_ids), "use an id of the vocabulary"
    yield from _contradictions(params)


def _contradictions(params: SamplingParams) -> Iterator[tuple[bool, str, str, str]]:
    for name, idle in (("top_p", 1.0), ("top_k", 0), ("min_p", 0.0)):
        value = getattr(params, name)
        yield (
            params.temperature == 0 and value != idle,
            f"{name} = {value} at temperature 0",
            "greedy decoding takes the most likely token, so that the cut has no effect",
            f"leave {name} out, or raise the temperature",
        )
    yield (
        params.constraint is not None and bool(params.stop or params.stop_token_ids),
        "a constraint and further stops",
        "a constrained completion ends where its language ends; a stop could cut it in the middle",
        "leave the stops out",
    )


def _endless(params: SamplingParams, stop_token_ids: Sequence[int]) -> Iterator[tuple[bool, str, str, str]]:
    is_banned = [params.logit_bias.get(token) == -inf for token in stop_token_ids]
    yield (
        params.constraint is not None and bool(is_banned) and all(is_banned),
        "a constraint and logit_bias = -inf for every stop token",
        "a constrained completion ends with a stop token, where its language ends",
        "leave a stop token out of logit_bias",
    )


def _range(num_ids: float) -> str:
    return f"ids go from 0 to {num_ids - 1:.0f}" if isfinite(num_ids) else "ids start at 0"


def check_rows(prompts: Sequence[object], *, seeds: Sequence[object], adapters: Sequence[str] | None = None) -> None:
    """Refuse rows without a seed and, if there are any, an adapter of their own. Raises: RecipeError."""
    for name, given in (("seeds", seeds), ("adapters", adapters)):
        if given is not None and len(given) != len(prompts):
            raise RecipeError(
                f"{len(prompts)} prompts with {len(given)} {name}",
                why="every prompt has its own; `prompts` is a list of prompts, each a list of token ids",
                do=f"give one of {name} a prompt",
            )
    for seed in seeds:
        if not isinstance(seed, Integral):
            raise RecipeError(f"the seed {seed!r} is no whole number", do="give whole numbers, such as row_seed(0, i)")


def check_prompt(
    prompt: Sequence[int], max_new_tokens: int, max_length: float, vocab_size: float, *, index: int, where: str
) -> None:
    """Refuse a prompt that is empty, has ids out of range, or leaves too little room. Raises: PromptError.

    An infinite ``max_length`` or ``vocab_size`` is one that is not known.
    """
    if not len(prompt):
        raise PromptError("the prompt is empty", index=index, where=where, do="give it a message")
    given: Sequence[object] = prompt
    for token in given:
        if not isinstance(token, Integral):
            raise PromptError(
                f"the prompt holds {token!r}, which is no token id",
                index=index,
                where=where,
                do="give token ids, for instance template.prompt_ids(messages)",
            )
    if min(prompt) < 0 or max(prompt) >= vocab_size:
        odd = next(token for token in prompt if not 0 <= token < vocab_size)
        raise PromptError(
            f"the prompt has the token id {odd}",
            index=index,
            where=where,
            why=f"the model's {_range(vocab_size)}",
            do="render the prompt with the model's own template",
        )
    if len(prompt) + max_new_tokens > max_length:
        raise PromptError(
            f"the prompt has {len(prompt)} tokens, and {max_new_tokens} new tokens were asked for",
            index=index,
            where=where,
            why=f"together they exceed the model's context of {max_length} tokens",
            do="shorten the prompt or lower max_new_tokens",
        )


def reshaping(params: SamplingParams) -> tuple[str, ...]:
    """The settings, with their values, under which tokens are drawn from another distribution than the tempered model.

    A trainer that computes log-probabilities over the whole vocabulary cannot follow them: its ratios would be off by
    the mass that was cut. [algorithms §0.2]
    """
    idle = SamplingParams()
    names = ("top_p", "top_k", "min_p", "repetition_penalty", "logit_bias", "constraint")
    return tuple(f"{name} = {getattr(params, name)}" for name in names if getattr(params, name) != getattr(idle, name))
