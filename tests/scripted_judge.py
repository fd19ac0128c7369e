"""A judge whose answers are written by a function of what it was asked, and a template of a token a character."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from strop.errors import PromptError
from strop.types import Completion, Message, SamplingParams
from strop.verifiers.judge_model import JudgeModel


@dataclass(frozen=True)
class CharacterTemplate:
    """A token a character."""

    digest: str = "a token a character"

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[object] = ()) -> tuple[int, ...]:
        return tuple(ord(character) for message in messages for character in message.content)


@dataclass
class ScriptedSampler:
    """Says what ``answer(prompt)`` says."""

    answer: Callable[[str], str]
    finish_reason: Literal["stop", "length", "deadline"] = "stop"
    max_length: int = 100_000
    asked: list[str] = field(default_factory=list)
    calls: int = 0

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        texts = ["".join(map(chr, prompt)) for prompt in prompts]
        for index, text in enumerate(texts):
            if len(text) > self.max_length:
                raise PromptError("the prompt is too long", index=index)
        self.asked += texts
        self.calls += 1
        return [
            Completion(token_ids=(), sampler_logprobs=(), text=self.answer(text), finish_reason=self.finish_reason)
            for text in texts
        ]


def judge_model(answer: Callable[[str], str], **settings: Any) -> JudgeModel:
    return JudgeModel(
        sampler=ScriptedSampler(answer, **settings),
        model="scripted",
        template=CharacterTemplate(),  # type: ignore[arg-type]
    )


def nonce_of(prompt: str) -> str:
    """The code, as the prompt tells it at its beginning."""
    return re.search(r"The code (\w+) is known", prompt)[1]  # type: ignore[index]


def material_of(prompt: str) -> dict[str, str]:
    """Title → text, read by the marks with the code."""
    nonce = nonce_of(prompt)
    found = re.findall(rf"<<<([A-Z]+) {nonce}\n(.*?)\n\1 {nonce}>>>", prompt, flags=re.DOTALL)
    return dict(found)


def instructions_of(prompt: str) -> str:
    """What is said outside the marks."""
    nonce = nonce_of(prompt)
    return re.sub(rf"<<<([A-Z]+) {nonce}\n.*?\n\1 {nonce}>>>", "", prompt, flags=re.DOTALL)
