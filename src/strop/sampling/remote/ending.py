"""Where a server's completion ends: by the rules of the embedded engine, whatever the server says of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from strop.sampling.remote.transport import Fault
from strop.sampling.stopping import Decode, GrowingText, find_stop
from strop.types import SamplingParams

FinishReason = Literal["stop", "length", "deadline"]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How many of the tokens are the completion's, why it ends there, and what it says up to there."""

    num_tokens: int
    reason: FinishReason
    text: str
    """Control tokens are kept, a stop token or text is cut."""


def decoded_ending(
    token_ids: Sequence[int],
    told: FinishReason,
    params: SamplingParams,
    stop_token_ids: Collection[int],
    decode: Decode,
) -> Ending:
    """The ending to which the embedded engine would have come with these tokens, perhaps before the last of them.

    A stop token or text ends it where it first stands, also where the server ``told`` that the length did or went on.
    Raises: Fault where the server told that it stopped, and nothing in the tokens ends them.
    """
    growing = GrowingText(decode, params.stop)
    known: list[int] = []
    for token in token_ids:
        known.append(token)
        if token in stop_token_ids:
            text = _whole(growing, decode(known[:-1]), params.stop)
            return Ending(num_tokens=len(known), reason="stop", text=text)
        if params.stop:
            growing.update(known)
            if growing.stopped:
                return Ending(num_tokens=len(known), reason="stop", text=growing.text)
    text = decode(known)
    if told == "stop" and find_stop(text, params.stop) < 0:
        place = f"token {len(known)} of {params.max_new_tokens}"
        raise Fault(
            "false stop",
            f"the server says that it stopped, but {place} is {known[-1]}, which ends nothing",
            do="serve the model that the template belongs to",
        )
    return Ending(num_tokens=len(known), reason=told, text=_whole(growing, text, params.stop))


def _whole(growing: GrowingText, text: str, stops: Sequence[str]) -> str:
    growing.close(text)
    return growing.text if stops else text


def told_ending(
    token_ids: Sequence[int], told: FinishReason, params: SamplingParams, stop_token_ids: Collection[int], text: str
) -> Ending:
    """The ending of tokens that cannot be decoded here, ``text`` is the server's.

    A stop token or text at the end is a stop, also where the server ``told`` that the length ended it. Raises: Fault
    where more comes after it, since which tokens and which text are the completion's then cannot be seen.
    """
    place = find_stop(text, params.stop)
    goes_on = any(token in stop_token_ids for token in token_ids[:-1])
    if goes_on or (told != "stop" and place >= 0 and text[place:] not in params.stop):
        raise Fault(
            "no stop",
            "the server's completion goes on after a stop",
            do="give the sampler a template: with it what comes after a stop is cut",
        )
    stopped = place >= 0 or any(token in stop_token_ids for token in token_ids[-1:])
    text = text if place < 0 else text[:place]
    return Ending(num_tokens=len(token_ids), reason="stop" if stopped else told, text=text)
