"""The dialogue between a policy and its tools: answer, call, result, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from strop.sampling import row_seed
from strop.tools import ToolFirst, ToolSession
from strop.types import Completion, Json, Message, Sampler, SamplingParams, ToolCall

if TYPE_CHECKING:
    from strop.chat import ChatTemplate


def converse(
    sampler: Sampler,
    template: ChatTemplate,
    messages: Sequence[Message],
    tools: Sequence[Json],
    execute: Callable[[ToolCall], str] | ToolSession,
    *,
    max_turns: int,
    params: SamplingParams | None = None,
    guard: ToolFirst | None = None,
    kind: str = "",
) -> list[Message]:
    """The turns that follow ``messages``: assistant turns, and a tool turn behind every call.

    Ends with the first assistant turn that calls nothing, at the latest after ``max_turns`` assistant turns (then
    possibly with a tool's result). An answer that was cut off or does not parse is returned as text, and nothing of it
    is executed. Turn t draws from the seed (``params.seed``, number of messages so far).

    With a session, its records say what the calls met, and once its budget has refused a call there is one more
    assistant turn, of which nothing is executed. ``guard`` then judges whatever an assistant turn says about a request
    of ``kind``: in the place of an answer that it refuses stands its own text, beside calls stands nothing, and the
    session's ``withheld`` tells why.
    Raises: PromptError when the dialogue has outgrown the context, and whatever a callable ``execute`` raises.
    """
    assert guard is None or isinstance(execute, ToolSession), "a guard needs a session's evidence"
    params = params or SamplingParams(temperature=0.0)
    session = execute if isinstance(execute, ToolSession) else None
    new: list[Message] = []
    for _ in range(max_turns):
        dialogue = [*messages, *new]
        prompt = template.prompt_ids(dialogue, tools)
        completion = sampler.sample([prompt], params, seeds=[row_seed(params.seed, len(dialogue))])[0]
        is_last = session is not None and session.is_over
        answer = _text(completion) if is_last else _read(template, completion)
        if session is not None and guard is not None:
            answer = _guarded(answer, session, guard, kind, messages)
        new.append(answer)
        if not answer.tool_calls:
            break
        new.extend(Message(role="tool", name=call.name, content=_executed(execute, call)) for call in answer.tool_calls)
    return new


def _executed(execute: Callable[[ToolCall], str] | ToolSession, call: ToolCall) -> str:
    return execute.call(call).content if isinstance(execute, ToolSession) else execute(call)


def _read(template: ChatTemplate, completion: Completion) -> Message:
    """The assistant's turn; as bare text when it was cut off or breaks the grammar of tool calls."""
    if not completion.is_truncated:
        try:
            return template.parse(completion.text)
        except ValueError:
            pass
    return _text(completion)


def _text(completion: Completion) -> Message:
    return Message(role="assistant", content=completion.text)


def _guarded(
    answer: Message, session: ToolSession, guard: ToolFirst, kind: str, messages: Sequence[Message]
) -> Message:
    """The turn without what the guard withholds."""
    asked = "\n".join(message.content for message in messages if message.role == "user")
    unfounded = guard.unfounded(answer.content, session.records, kind=kind, question=asked)
    if not unfounded:
        return answer
    session.withhold(f"no evidence for {', '.join(map(str, unfounded))}")
    return replace(answer, content="" if answer.tool_calls else guard.withheld)
