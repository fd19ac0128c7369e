"""A few conversations that use everything a template can render: what a lock file pins as strings and ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

from strop.types import Json, Message, ToolCall

BUDGET: Json = {
    "type": "function",
    "function": {
        "name": "get_budget",
        "description": "The budget of a department in a quarter.",
        "parameters": {
            "type": "object",
            "properties": {
                "department": {"type": "string", "description": "The department's name."},
                "year": {"type": "integer", "description": "Four digits."},
            },
            "required": ["department", "year"],
        },
    },
}
_SYSTEM = Message(role="system", content="Answer briefly.")
_ASK = Message(role="user", content="What may sales spend in 2025?")
_CALL = Message(
    role="assistant", tool_calls=(ToolCall(name="get_budget", arguments={"department": "sales", "year": 2025}),)
)
_TWO_CALLS = Message(
    role="assistant",
    tool_calls=tuple(
        ToolCall(name="get_budget", arguments={"department": name, "year": 2025}) for name in ("hr", "it")
    ),
)
_RESULT = Message(role="tool", content='{"budget": 1200}', name="get_budget")
_TOLD = Message(role="assistant", content="Sales may spend 1200.")
_HELLO = Message(role="user", content="Hello")
_HI = Message(role="assistant", content="Hi, how can I help?")


@dataclass(frozen=True)
class Golden:
    """One pinned conversation."""

    name: str
    messages: tuple[Message, ...]
    tools: tuple[Json, ...] = ()
    prompt: bool = False
    """Whether it ends with the generation prompt."""


GOLDENS = (
    Golden("prompt", (_HELLO,), prompt=True),
    Golden("one turn", (_HELLO, _HI)),
    Golden("system", (_SYSTEM, _HELLO, _HI)),
    Golden("several turns", (_HELLO, _HI, _ASK, _TOLD)),
    Golden("tool call", (_ASK, _CALL), (BUDGET,)),
    Golden("tool result prompt", (_ASK, _CALL, _RESULT), (BUDGET,), prompt=True),
    Golden("tool use", (_SYSTEM, _ASK, _CALL, _RESULT, _TOLD, _HELLO, _HI), (BUDGET,)),
    Golden("tool use without schemas", (_ASK, _CALL, _RESULT, _TOLD)),
    Golden("two calls", (_ASK, _TWO_CALLS, _RESULT, _RESULT, _TOLD)),
    Golden("content and call", (_ASK, replace(_CALL, content="I look it up."), _RESULT, _TOLD)),
    Golden("reasoning", (_ASK, Message(role="assistant", content="1200", reasoning="Sales is 1200."))),
    Golden("white space", (Message(role="user", content="  Hello\n\n"), Message(role="assistant", content=" Hi \n"))),
    Golden(
        "unicode",
        (Message(role="user", content="Grüße, 世界 🙂 e\u0301"), Message(role="assistant", content="👋🏽 ¡Sí!")),
    ),
    Golden("markup", (Message(role="user", content='{"a": "\\"<b>\\" & {{ x }} {% y %}"}'), _HI)),
)
