"""What a template writes around the texts: learned once from short probe conversations, never from a user's data.

The probes are compared with each other only here, for the template's own words: the generation prompt, the end of a
turn, the close of a reasoning block. Spans are then found in the one rendered string of the conversation itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from strop.chat.escape import Encoder
from strop.chat.layout import Layout, lay_out
from strop.chat.shape import MessageShape
from strop.errors import TemplateError
from strop.types import Json, Message, ToolCall

TOOL: Json = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Look up a word.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string", "description": "The word."}},
            "required": ["word"],
        },
    },
}
USER = Message(role="user", content="First question.")
AGAIN = Message(role="user", content="Second question.")
ANSWER = Message(role="assistant", content="An answer.")
THOUGHT = Message(role="assistant", content="An answer.", reasoning="A thought.")
CALL = Message(role="assistant", tool_calls=(ToolCall(name="lookup", arguments={"word": "oak"}),))
RESULT = Message(role="tool", content="A tree.", name="lookup")
TAG = re.compile(r"</?[^<>\s]{1,64}>|\[/?[A-Z_]{1,64}\]")


@dataclass(frozen=True)
class Frame:
    """The template's own words."""

    shape: MessageShape
    prompt_tails: Mapping[str, str]
    """By the role of a prompt's last message: what stands between its text and the first generated token."""
    header: str
    """The generation prompt after a user's turn; empty where the template has none."""
    turn_end: str
    """What closes an assistant's answer wherever it stands; empty where that depends on what follows."""
    call_end: str
    """The last control token after a call, where ``turn_end`` does not close it."""
    closes_turns: bool
    """Whether the last assistant turn of a conversation ends with a control token."""
    reasoning_close: str
    """What stands between reasoning and the answer."""
    renders_tools: bool
    renders_reasoning: bool


def probe(encoder: Encoder) -> Frame:
    """The frame of the encoder's template; what the template refuses to render is left empty."""
    shape = _find_shape(encoder)
    look = _Look(encoder, shape)
    tails = {"user": look.tail([USER], prompt=True), "tool": look.tail([USER, CALL, RESULT], [TOOL], prompt=True)}
    closed = look.tail([USER])
    prompt = tails["user"]
    header = prompt[look.shared(prompt, closed or "") :] if prompt is not None else ""
    final, middle = look.tail([USER, ANSWER]), look.tail([USER, ANSWER, AGAIN], stop=1)
    final_call, middle_call = look.tail([USER, CALL], [TOOL]), look.tail([USER, CALL, RESULT], [TOOL], stop=1)
    thought = look.layout([USER, THOUGHT])
    call_tokens = look.tokens(look.both(final_call, middle_call))
    return Frame(
        shape=shape,
        prompt_tails={role: tail for role, tail in tails.items() if tail is not None},
        header=header,
        turn_end=look.closing(look.both(final, middle)),
        call_end=call_tokens[-1] if call_tokens else "",
        closes_turns=bool(final is not None and look.tokens(final)),
        reasoning_close=_between_reasoning_and_answer(thought),
        renders_tools=_renders_tools(look),
        renders_reasoning=thought is not None and not thought.missing,
    )


def _find_shape(encoder: Encoder) -> MessageShape:
    shape = MessageShape()
    if _score(encoder, [USER], shape) < _score(encoder, [USER], replace(shape, content="parts")):
        shape = replace(shape, content="parts")
    calls = [USER, CALL, RESULT]
    argument_forms: tuple[Literal["object", "string"], ...] = ("object", "string")
    absences: tuple[Literal["empty", "none", "absent"], ...] = ("empty", "none", "absent")
    variants = [
        replace(shape, call_ids=call_ids, arguments=arguments, no_content=no_content)
        for call_ids, arguments, no_content in product((False, True), argument_forms, absences)
    ]
    shape = _best(encoder, calls, variants, [TOOL])
    return _best(encoder, [USER, THOUGHT], [shape, replace(shape, reasoning="inline")])


def _best(
    encoder: Encoder, messages: Sequence[Message], variants: Sequence[MessageShape], tools: Sequence[Json] = ()
) -> MessageShape:
    """The first variant that renders the most texts; the first of all where none is better."""
    best, best_score = variants[0], _score(encoder, messages, variants[0], tools)
    for variant in variants[1:]:
        if best_score == 0:
            break
        if (score := _score(encoder, messages, variant, tools)) > best_score:
            best, best_score = variant, score
    return best


def _score(encoder: Encoder, messages: Sequence[Message], shape: MessageShape, tools: Sequence[Json] = ()) -> int:
    """Minus the number of texts that the shape loses; 0 is perfect, -1000 a template that raises."""
    if shape.reasoning == "inline" and not _has_think_tokens(encoder):
        return -1000
    try:
        return -len(lay_out(encoder, messages, tools, shape).missing)
    except TemplateError:
        return -1000


def _has_think_tokens(encoder: Encoder) -> bool:
    return {"<think>", "</think>"} <= set(encoder.control) or "</think>" in encoder.source.default


def _between_reasoning_and_answer(layout: Layout | None) -> str:
    if layout is None or layout.missing:
        return ""
    reasoning = next(piece for piece in layout.pieces if piece.leaf.part == "reasoning")
    answer = next(piece for piece in layout.pieces if piece.leaf.turn == 1 and piece.leaf.part == "content")
    return layout.text[reasoning.end : answer.start]


def _renders_tools(look: _Look) -> bool:
    without, given = look.layout([USER]), look.layout([USER], [TOOL])
    return without is not None and given is not None and without.text != given.text


@dataclass(frozen=True)
class _Look:
    """Probe renderings and comparisons of the words in them."""

    encoder: Encoder
    shape: MessageShape

    def layout(self, messages: Sequence[Message], tools: Sequence[Json] = (), *, prompt: bool = False) -> Layout | None:
        try:
            return lay_out(self.encoder, messages, tools, self.shape, add_generation_prompt=prompt)
        except TemplateError:
            return None

    def tail(
        self, messages: Sequence[Message], tools: Sequence[Json] = (), *, prompt: bool = False, stop: int | None = None
    ) -> str | None:
        """What follows the last text of message ``stop`` (the last one) up to the next message's text."""
        layout = self.layout(messages, tools, prompt=prompt)
        turn = len(messages) - 1 if stop is None else stop
        if layout is None or layout.missing:
            return None
        own = [piece for piece in layout.own_pieces() if piece.leaf.turn == turn]
        following = [piece.start for piece in layout.pieces if piece.start >= own[-1].end]
        return layout.text[own[-1].end : min(following, default=len(layout.text))]

    def shared(self, one: str, other: str) -> int:
        """The length of the common beginning, moved back so that it cuts no control token or tag in two."""
        return shared_length(one, other, self.encoder)

    def both(self, one: str | None, other: str | None) -> str:
        """The common beginning, where both renderings exist; else the one that does."""
        if one is None or other is None:
            return one or other or ""
        return one[: self.shared(one, other)]

    def tokens(self, words: str) -> list[str]:
        """The control tokens in ``words``, in order."""
        return [match.group() for match in self.encoder.pattern.finditer(words)]

    def closing(self, words: str) -> str:
        """``words`` up to the last control token in it, without outer white space."""
        stops = [match.end() for match in self.encoder.pattern.finditer(words)]
        return words[: stops[-1]].strip() if stops else ""


def shared_length(one: str, other: str, encoder: Encoder) -> int:
    """The length of the common beginning of two strings, moved back so that it cuts no control token or tag in two."""
    length = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    cut = True
    while cut:
        cut = False
        for words, pattern in product((one, other), (encoder.pattern, TAG)):
            for match in pattern.finditer(words):
                if match.start() < length < match.end():
                    length, cut = match.start(), True
    return length
