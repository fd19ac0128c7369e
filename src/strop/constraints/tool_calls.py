"""The language of tool calls in a model's own template format, as a grammar.

Read off the template: a conversation with two calls is rendered, and what stands between the header of the assistant's
turn and its end must be ``<tool_call>{"name": …, "arguments": …}</tool_call>`` twice (the Hermes kind; Qwen writes it
too), with whatever white space and JSON separators the template uses. Those are kept, since the model was trained on
them. The language is one call or more and nothing else: no text before, between or after. A model that may also answer
in words is not constrained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strop.chat.parse import CLOSE, END_THINK, OPEN, THINK
from strop.errors import ConstraintError, TemplateError
from strop.types import Json, Message, ToolCall

if TYPE_CHECKING:
    from strop.chat.template import ChatTemplate

_PROBES = (ToolCall(name="get_one", arguments={"a": "x", "b": 1}), ToolCall(name="get_two", arguments={"c": [1, "y"]}))
_SEPARATORS = ((",", ":"), (", ", ": "), (",", ": "), (", ", ":"))
_CALL = re.compile(rf"(\s*){OPEN}(\s*)(\{{.*?\}})(\s*){CLOSE}", re.DOTALL)
_EMPTY_THINK = re.compile(rf"(?:{THINK}\s*{END_THINK})?\s*")


@dataclass(frozen=True)
class CallFormat:
    """How a template writes calls."""

    before: str
    """White space before the first call, with the empty think block that some templates write there."""
    between: str
    inner: tuple[str, str]
    """White space after the opening and before the closing tag."""
    separators: tuple[str, str]
    """Of the JSON inside, as for ``json.dumps``."""


def call_format(template: ChatTemplate) -> CallFormat:
    """How ``template`` writes tool calls. Raises: ConstraintError naming what it writes instead of the Hermes kind."""
    tools = [_tool(call) for call in _PROBES] if template.frame.renders_tools else []
    asked = [Message(role="user", content="Go")]
    try:
        prompt = template.render(asked, tools, add_generation_prompt=True).text
        text = template.render([*asked, Message(role="assistant", tool_calls=_PROBES)], tools).text
    except TemplateError as error:
        raise _refused(f"it cannot render calls: {error.what}") from error
    if prompt.rstrip().endswith(THINK):
        raise _refused(f"its generation prompt opens {THINK}, and thinking is free text")
    turn = text[len(prompt) :] if text.startswith(prompt) else text[text.rfind("Go") + 2 :]
    found = list(_CALL.finditer(turn))
    if len(found) != 2 or found[0].end() != found[1].start():
        raise _refused(f"it writes calls as {turn[:120]!r}")
    first, second = found
    before = turn[: first.start()] + first.group(1) if text.startswith(prompt) else ""
    if not _EMPTY_THINK.fullmatch(before):
        raise _refused(f"it writes {before!r} before the first call")
    separators = [_separators(match.group(3), call) for match, call in zip(found, _PROBES)]
    if None in separators or separators[0] != separators[1] or first.group(2, 4) != second.group(2, 4):
        raise _refused(f"the JSON of its calls is {first.group(3)!r}")
    return CallFormat(before, second.group(1), (first.group(2), first.group(4)), separators[0] or _SEPARATORS[0])


def _tool(call: ToolCall) -> Json:
    properties = {name: {"type": "string", "description": "?"} for name in call.arguments}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": call.name, "description": "?", "parameters": parameters}}


def _separators(text: str, call: ToolCall) -> tuple[str, str] | None:
    value = {"name": call.name, "arguments": dict(call.arguments)}
    return next((pair for pair in _SEPARATORS if json.dumps(value, separators=pair) == text), None)


def _refused(why: str) -> ConstraintError:
    return ConstraintError(
        "tool calls cannot be constrained for this chat template",
        why=f'{why}; only <tool_call>{{"name": …, "arguments": …}}</tool_call> is known',
        do="use a template of that kind, or constrain with a grammar of your own (kind lark)",
    )


def call_schema(tools: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The schema of one call's JSON, given each tool's name and the schema of its arguments."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": schema},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for name, schema in tools
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def call_grammar(form: CallFormat, schemas: Sequence[Mapping[str, Any]], control: Mapping[str, int]) -> str:
    """The Lark grammar of one call or more; ``schemas`` is one finished JSON schema a tool's call."""

    def spelt(text: str) -> str:
        """Tags that are tokens of their own by their ids, everything else as text."""
        pieces = re.split(f"({'|'.join((OPEN, CLOSE, THINK, END_THINK))})", text)
        return " ".join(f"<[{control[p]}]>" if p in control else json.dumps(p) for p in pieces if p)

    names = [f"call{i}" for i in range(len(schemas))]
    rules = [
        f"start: {spelt(form.before)} call ({spelt(form.between)} call)*",
        f"call: {spelt(OPEN + form.inner[0])} body {spelt(form.inner[1] + CLOSE)}",
        f"body: {' | '.join(names)}",
    ]
    rules += [f"{name}: %json {json.dumps(schema, ensure_ascii=False)}" for name, schema in zip(names, schemas)]
    return "\n".join(rules) + "\n"
