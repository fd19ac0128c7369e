"""The completions endpoint: what is asked of it, and what of its answer may be believed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from strop.sampling.remote.ending import Ending, FinishReason, decoded_ending, told_ending
from strop.sampling.remote.transport import Fault, part
from strop.sampling.stopping import Decode
from strop.types import Completion, SamplingParams

Dialect = Literal["vllm", "openai"]
PATH = "/completions"
_LOWEST_LOGPROB = -9998.0
"""Servers write -9999 where they mean minus infinity, which JSON cannot say."""
_ROUNDING = 1e-3
_ENDS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length", "deadline": "deadline"}
_ABORTED = frozenset({"abort", "error", "cancelled"})
_MAX_OPENAI_STOPS = 4
_MAX_BIAS = 100.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A completion that was asked for: what its answer is held against."""

    model: str
    prompt: tuple[int, ...]
    params: SamplingParams
    seed: int
    stop_token_ids: tuple[int, ...]
    """Of the template and the parameters together."""
    dialect: Dialect
    vocab_size: int | None
    weights: str | None
    """The version of the weights that must answer, where the server tells."""
    knows_stops: bool
    """Whether ``stop_token_ids`` are all tokens that may end the completion."""


def body(asked: Asked, *, stream: bool) -> dict[str, Any]:
    """The request. Every parameter is said, so that no default of the server's can change the distribution."""
    params = asked.params
    found: dict[str, Any] = {
        "model": asked.model,
        "prompt": list(asked.prompt),
        "max_tokens": params.max_new_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "n": 1,
        "seed": asked.seed,
        "logprobs": 0 if asked.dialect == "vllm" else 1,
        "stream": stream,
    }
    if params.stop:
        found["stop"] = list(params.stop)
    if params.logit_bias:
        found["logit_bias"] = {str(token): bias for token, bias in params.logit_bias.items()}
    if asked.dialect == "vllm":
        found |= {
            "top_k": params.top_k,
            "min_p": params.min_p,
            "repetition_penalty": params.repetition_penalty,
            "stop_token_ids": list(asked.stop_token_ids),
            "ignore_eos": asked.knows_stops,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "add_special_tokens": False,
        }
    return found | {"return_token_ids": True, "return_tokens_as_token_ids": True}


def unsupported(params: SamplingParams, dialect: Dialect) -> list[tuple[str, str]]:
    """What of the parameters no such server does, and why."""
    found = []
    if params.constraint is not None:
        found.append(("constraint", "a remote server gives neither budgeted closing nor the mass that was left"))
    if params.min_p and params.top_p < 1:
        found.append(("min_p with top_p", "servers cut by min_p first, so that top_p is of another distribution"))
    for token, bias in params.logit_bias.items():
        if abs(bias) > _MAX_BIAS:
            found.append((f"logit_bias[{token}] = {bias}", f"servers cut biases at {_MAX_BIAS:g} silently"))
    if dialect == "openai":
        why = "it is no part of the OpenAI API, and a server that does not know it would ignore it silently"
        idle = SamplingParams()
        found += [
            (name, why)
            for name in ("top_k", "min_p", "repetition_penalty", "stop_token_ids")
            if getattr(params, name) != getattr(idle, name)
        ]
        if len(params.stop) > _MAX_OPENAI_STOPS:
            found.append((f"{len(params.stop)} stop texts", f"the OpenAI API takes {_MAX_OPENAI_STOPS}"))
    return found


def only_choice(answer: Any) -> Mapping[str, Any]:
    """The one choice of an answer. Raises: Fault."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Fault("garbled", f"the answer has no choices: {str(answer)[:120]}", is_transient=True)
    if len(choices) != 1:
        raise Fault("wrong answer", f"the answer has {len(choices)} choices, one was asked for")
    choice: Mapping[str, Any] = choices[0]
    return choice


def completion_of(answer: Any, asked: Asked, decode: Decode | None) -> Completion:
    """The completion, believed only where it is whole and consistent. Raises: Fault.

    With ``decode`` its end, text and finish_reason are what the embedded engine would have made of its tokens; without
    it the text is the server's.
    """
    choice = only_choice(answer)
    _check_identity(answer, asked)
    _check_prompt(answer, choice, asked)
    reason = _finish_reason(choice)
    token_ids = _token_ids(choice, asked)
    logprobs = _logprobs(choice, len(token_ids))
    if len(token_ids) > asked.params.max_new_tokens or (not token_ids and reason != "deadline"):
        message = f"{len(token_ids)} tokens came, between 1 and {asked.params.max_new_tokens} were asked for"
        raise Fault("wrong answer", message)
    number = (part(answer, "usage", dict) or {}).get("completion_tokens", len(token_ids))
    if number != len(token_ids) and reason != "deadline":
        raise Fault("wrong answer", f"the server counts {number} tokens and sent {len(token_ids)}")
    text = part(choice, "text", str)
    if text is None:
        raise Fault("garbled", "the answer has no text", is_transient=True)
    end = _ending(token_ids, reason, text, asked, decode)
    return Completion(
        token_ids=token_ids[: end.num_tokens],
        sampler_logprobs=logprobs[: end.num_tokens],
        text=end.text,
        finish_reason=end.reason,
        full_logprobs=logprobs[: end.num_tokens] if asked.params.full_logprobs else None,
    )


def _ending(token_ids: tuple[int, ...], told: FinishReason, text: str, asked: Asked, decode: Decode | None) -> Ending:
    if decode is None:
        end = told_ending(token_ids, told, asked.params, asked.stop_token_ids, text)
    else:
        end = decoded_ending(token_ids, told, asked.params, asked.stop_token_ids, decode)
    most = asked.params.max_new_tokens
    if end.reason == "length" and end.num_tokens < most:
        message = f"cut at {end.num_tokens} of {most} tokens: the server's context is too short"
        raise Fault("cut short", message, do="start the server with a longer context, or shorten the prompt")
    return end


def neutral(params: SamplingParams) -> bool:
    """Whether the distribution that is sampled from is the model's own, so that every way of reporting is the same."""
    return (
        params.temperature in (0.0, 1.0)
        and (params.top_p, params.top_k, params.min_p, params.repetition_penalty) == (1.0, 0, 0.0, 1.0)
        and not params.logit_bias
    )


def _check_identity(answer: Mapping[str, Any], asked: Asked) -> None:
    model, version = answer.get("model"), answer.get("weight_version")
    if asked.dialect == "vllm" and model != asked.model:
        raise Fault("wrong model", f"{model!r} answered, {asked.model!r} was asked", is_server_wide=True)
    if asked.weights is not None and version is not None and version != asked.weights:
        raise Fault(
            "wrong weights",
            f"weights of version {version!r} answered, {asked.weights!r} were asked",
            is_server_wide=True,
            do="load the weights into the server again",
        )


def _check_prompt(answer: Mapping[str, Any], choice: Mapping[str, Any], asked: Asked) -> None:
    found = part(choice, "prompt_token_ids", list)
    if found is not None:
        if tuple(found) != asked.prompt:
            message = f"the server completed another prompt: {len(found)} tokens for {len(asked.prompt)}"
            raise Fault("wrong prompt", message, is_server_wide=True, do="keep the server from adding special tokens")
        return
    number = (part(answer, "usage", dict) or {}).get("prompt_tokens")
    if number is not None and number != len(asked.prompt):
        message = f"the server completed {number} prompt tokens, {len(asked.prompt)} were sent"
        raise Fault("wrong prompt", message, is_server_wide=True, do="keep the server from adding special tokens")


def _finish_reason(choice: Mapping[str, Any]) -> FinishReason:
    reason = part(choice, "finish_reason", str)
    if reason is None:
        raise Fault("truncated", "the answer has no finish_reason: it was cut off", is_transient=True)
    if reason in _ABORTED:
        raise Fault("aborted", f"the server ended the request with finish_reason {reason!r}", is_transient=True)
    if reason not in _ENDS:
        raise Fault("wrong answer", f"the completion ended with finish_reason {reason!r}")
    return _ENDS[reason]


def _token_ids(choice: Mapping[str, Any], asked: Asked) -> tuple[int, ...]:
    found = part(choice, "token_ids", list)
    if found is None:
        found = _ids_in_names(part(part(choice, "logprobs", dict) or {}, "tokens", list) or [])
    if found is None:
        raise Fault(
            "no token ids",
            "the server answers without token ids",
            is_server_wide=True,
            do="sample from one that knows return_token_ids (vLLM), or use chat() where text is enough",
        )
    for token in found:
        if type(token) is not int or token < 0 or (asked.vocab_size is not None and token >= asked.vocab_size):
            top = "" if asked.vocab_size is None else f", the vocabulary has {asked.vocab_size}"
            message = f"the server answered with the token id {token!r}{top}"
            raise Fault("wrong answer", message, do="serve the model that the template belongs to")
    return tuple(found)


def _ids_in_names(tokens: Collection[object]) -> list[int] | None:
    """Ids from names such as ``token_id:17``; None unless every token is named so."""
    mark = "token_id:"
    names = [token.removeprefix(mark) for token in tokens if isinstance(token, str) and token.startswith(mark)]
    if not tokens or len(names) != len(tokens) or not all(name.isdigit() for name in names):
        return None
    return [int(name) for name in names]


def _logprobs(choice: Mapping[str, Any], num_tokens: int) -> tuple[float, ...]:
    found = part(part(choice, "logprobs", dict) or {}, "token_logprobs", list)
    if found is None:
        raise Fault(
            "no logprobs",
            "the server answers without log-probabilities",
            is_server_wide=True,
            do="sample from one that reports them, or use chat() where text is enough",
        )
    if len(found) != num_tokens:
        raise Fault("wrong answer", f"{len(found)} log-probabilities came for {num_tokens} tokens")
    for place, value in enumerate(found):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not _LOWEST_LOGPROB < value <= _ROUNDING:
            raise Fault("wrong answer", f"the log-probability of token {place} is {value!r}")
    return tuple(min(float(value), 0.0) for value in found)
