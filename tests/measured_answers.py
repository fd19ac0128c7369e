"""Completions and verdicts made by hand, for the tests of measures."""

from collections.abc import Mapping, Sequence
from typing import Any

from strop.types import Completion, Json, Message, Task, Verdict

RIGHT, WRONG = Verdict(score=1.0, passed=True), Verdict(score=0.0, passed=False)
UNKNOWN = Verdict(score=None, passed=False, state="timeout")


def said(text: str, *, finish_reason: str = "stop", logprobs: Sequence[float] = ()) -> Completion:
    return Completion(
        token_ids=tuple(range(len(logprobs))),
        sampler_logprobs=tuple(logprobs),
        text=text,
        finish_reason=finish_reason,  # type: ignore[arg-type]
    )


def task(
    question: str = "What is it?",
    reference: Mapping[str, Any] | None = None,
    *,
    prompt: Sequence[Message] | None = None,
    tools: Sequence[Json] = (),
) -> Task:
    turns = tuple(prompt) if prompt is not None else (Message(role="user", content=question),)
    return Task(id="t", prompt=turns, reference=reference or {}, tools=tuple(tools))
