"""The dialogue between a policy and its tools: answer, call, result, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from strop.sampling import row_seed
from strop.types import Completion, Json, Message, Sampler, SamplingParams, ToolCall

if TYPE_CHECKING:
    from strop.chat import ChatTemplate


def converse(
    sampler: Sampler,
    template: ChatTemplate,
    messages: Sequence[Message],
    tools: Sequence[Json],
    execute: Callable[[ToolCall], str],
    *,
    max_turns: int,
    params: SamplingParams | None = None,
) -> list[Message]:
    """The turns that follow ``messages``: assistant turns, and a tool turn behind every call.

    Ends with the first assistant turn that calls nothing, at the latest after ``max_turns`` assistant turns (then
    possibly with a tool's result). An answer that was cut off or does not parse is returned as text, and nothing of it
    is executed. Turn t draws from the seed (``params.seed``, number of messages so far).
    Raises: PromptError when the dialogue has outgrown the context, and whatever ``execute`` raises.
    """
    params = params or SamplingParams(temperature=0.0)
    new: list[Message] = []
    for _ in range(max_turns):
        dialogue = [*messages, *new]
        prompt = template.prompt_ids(dialogue, tools)
        completion = sampler.sample([prompt], params, seeds=[row_seed(params.seed, len(dialogue))])[0]
        answer = _read(template, completion)
        new.append(answer)
        if not answer.tool_calls:
            break
        new.extend(Message(role="tool", name=call.name, content=execute(call)) for call in answer.tool_calls)
    return new


def _read(template: ChatTemplate, completion: Completion) -> Message:
    """The assistant's turn; as bare text when it was cut off or breaks the grammar of tool calls."""
    if not completion.is_truncated:
        try:
            return template.parse(completion.text)
        except ValueError:
            pass
    return Message(role="assistant", content=completion.text)
