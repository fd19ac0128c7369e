"""Which sampling parameters make sense: what names no distribution, contradicts itself or has no effect is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isfinite
from numbers import Integral

from strop.errors import PromptError, RecipeError
from strop.types import SamplingParams


def check_params(params: SamplingParams, vocab_size: int | None = None) -> None:
    """Refuse settings that name no distribution, contradict each other, or have no effect. Raises: RecipeError.

    With ``vocab_size`` the token ids are checked too.
    """
    for refused, what, why, do in _refusals(params, inf if vocab_size is None else vocab_size):
        if refused:
            raise RecipeError(f"cannot sample with {what}", where="sampling parameters", why=why, do=do)


def _refusals(params: SamplingParams, num_ids: float) -> Iterator[tuple[bool, str, str, str]]:
    yield params.max_new_tokens < 1, f"max_new_tokens = {params.max_new_tokens}", "", "set it to at least 1"
    yield not 0 <= params.temperature < inf, f"temperature = {params.temperature}", "", "use 0 (greedy) or more"
    yield not 0 < params.top_p <= 1, f"top_p = {params.top_p}", "", "use a share above 0 and at most 1"
    yield params.top_k < 0, f"top_k = {params.top_k}", "", "use 0 (keep all) or more"
    yield not 0 <= params.min_p < 1, f"min_p = {params.min_p}", "", "use a share of at least 0 and below 1"
    penalty = params.repetition_penalty
    yield not 0 < penalty < inf, f"repetition_penalty = {penalty}", "", "use 1 (none) or another positive number"
    deadline = params.deadline_s
    yield deadline is not None and not deadline > 0, f"deadline_s = {deadline}", "it is over at once", "use seconds > 0"
    yield isinstance(params.stop, str), f"stop = {params.stop!r}", "each of its letters would stop", "give a tuple"
    yield "" in params.stop, "an empty stop text", "it stands at the start of every completion", "leave it out"
    for token, bias in params.logit_bias.items():
        yield not 0 <= token < num_ids, f"logit_bias for token {token}", _range(num_ids), "use an id of the vocabulary"
        yield not (isfinite(bias) or bias == -inf), f"logit_bias[{token}] = {bias}", "", "use a number, or -inf to ban"
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
    strange = next((seed for seed in seeds if not isinstance(seed, Integral)), None)
    if strange is not None:
        raise RecipeError(f"the seed {strange!r} is no whole number", do="give whole numbers, such as row_seed(0, i)")


def check_prompt(
    prompt: Sequence[int], max_new_tokens: int, max_length: float, vocab_size: float, *, index: int, where: str
) -> None:
    """Refuse a prompt that is empty, has ids out of range, or leaves too little room. Raises: PromptError.

    An infinite ``max_length`` or ``vocab_size`` is one that is not known.
    """
    if not len(prompt):
        raise PromptError("the prompt is empty", index=index, where=where, do="give it a message")
    given: Sequence[object] = prompt
    strange = next((token for token in given if not isinstance(token, Integral)), None)
    if strange is not None:
        raise PromptError(
            f"the prompt holds {strange!r}, which is no token id",
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
