"""A completion as a stream of events: put together to what the same request answers without streaming."""

from __future__ import annotations

from typing import Any

import httpx

from strop.sampling.remote.completions import Asked, completion_of
from strop.sampling.remote.transport import Fault, parse_json, part
from strop.sampling.stopping import Decode
from strop.types import Completion


class StreamedCompletion:
    """Reads the stream of one completion that was asked for, perhaps in several tries."""

    def __init__(self, asked: Asked, decode: Decode | None) -> None:
        self._asked = asked
        self._decode = decode
        self._whole: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}

    async def read(self, response: httpx.Response) -> Completion:
        """The completion when its stream is over. Raises: Fault for one that ends before its completion did."""
        try:
            is_done = await _read_events(response, self._whole, self._choice)
            if not is_done or self._choice.get("finish_reason") is None:
                num = len(self._choice.get("token_ids", ()))
                message = f"the stream ended after {num} tokens, before the completion did"
                raise Fault("truncated", message, is_transient=True)
            return completion_of(self._whole | {"choices": [self._choice]}, self._asked, self._decode)
        except Exception:  # not the cancelling by a deadline, which leaves what there is
            self._whole, self._choice = {}, {}
            raise

    def so_far(self) -> Completion:
        """What has come in the try under way, ended by the deadline; no tokens if nothing has. Raises: Fault."""
        nothing = {"token_ids": [], "text": "", "logprobs": {"token_logprobs": []}}
        choice = nothing | self._choice | {"finish_reason": "deadline"}
        answer = {"model": self._asked.model} | self._whole | {"choices": [choice]}
        return completion_of(answer, self._asked, self._decode)


async def _read_events(response: httpx.Response, whole: dict[str, Any], choice: dict[str, Any]) -> bool:
    """Fills ``whole`` and ``choice``; whether the server said that the stream is complete."""
    is_done = False
    async for line in response.aiter_lines():  # to the end: a stream that is left early cannot be used again
        data = line.removeprefix("data:").strip()
        is_done = is_done or data == "[DONE]"
        if is_done or not line.startswith("data:"):
            continue
        event = parse_json(data)
        if not isinstance(event, dict):
            raise Fault("garbled", f"an event of the stream is no object: {data[:80]!r}", is_transient=True)
        if "error" in event:
            raise Fault("server error", f"the stream brought an error: {str(event['error'])[:300]}", is_transient=True)
        choices = part(event, "choices", list) or []
        whole |= {key: value for key, value in event.items() if value is not None and key != "choices"}
        if len(choices) > 1 or any(not isinstance(piece, dict) or piece.get("index", 0) != 0 for piece in choices):
            raise Fault("wrong answer", "the stream brought several completions, one was asked for")
        for piece in choices:
            _append(choice, piece)
    return is_done


def _append(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    """Texts and lists of tokens grow, what is said once is kept."""
    choice["text"] = choice.get("text", "") + (part(piece, "text", str) or "")
    choice["finish_reason"] = part(piece, "finish_reason", str) or choice.get("finish_reason")
    for key in ("token_ids", "prompt_token_ids"):
        found = part(piece, key, list)
        if found is not None:
            choice[key] = choice.get(key, []) + found
    logprobs = part(piece, "logprobs", dict)
    if logprobs is not None:
        grown = choice.setdefault("logprobs", {})
        for key in ("tokens", "token_logprobs"):
            grown[key] = grown.get(key, []) + (part(logprobs, key, list) or [])
