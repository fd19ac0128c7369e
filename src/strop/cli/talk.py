"""``strop sample`` and ``strop chat``: what a model says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from strop.cli import console
from strop.pipeline.workspace import Workspace
from strop.types import Message, SamplingParams, ToolCall

if TYPE_CHECKING:
    from strop.sampling import TorchSampler

_Model = Annotated[str, typer.Argument(help="strop:tiny, a model or adapter folder, or a hub id.")]
_World = Annotated[str | None, typer.Option(help="Whose system message and tools are used, e.g. finance.")]
_Tenant = Annotated[str, typer.Option(help="Of the world.")]
_MAX_TURNS = 6


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("sample", help="Answer one prompt, several times if asked.")(sample)
    app.command("chat", help="Talk with a model, with a world's tools if asked; reads a terminal or a pipe.")(chat)


def sample(
    model: _Model,
    prompt: Annotated[str, typer.Argument(help="The user's message; - reads standard input.")],
    world: _World = None,
    tenant: _Tenant = "bank_A",
    num: Annotated[int, typer.Option(min=1, help="How many answers.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Print each answer."""
    from strop.sampling import row_seed

    sampler = _sampler(model)
    opening, tools = _setting(world, tenant)
    text = sys.stdin.read().strip() if prompt == "-" else prompt
    ids = sampler.policy.template.prompt_ids([*opening, Message(role="user", content=text)], tools)
    params = SamplingParams(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    for completion in sampler.sample([ids] * num, params, seeds=[row_seed(seed, index) for index in range(num)]):
        cut = " …[cut off]" if completion.finish_reason != "stop" else ""
        console.say(completion.text + cut)


def chat(
    model: _Model,
    world: _World = None,
    tenant: _Tenant = "bank_A",
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 256,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Read a line, answer, and so on until the input ends."""
    from strop.rollouts import converse

    sampler = _sampler(model)
    opening, tools = _setting(world, tenant)
    params = SamplingParams(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
    dialogue = list(opening)

    def execute(call: ToolCall) -> str:
        return _execute(world, tenant, call)

    for line in _lines():
        dialogue.append(Message(role="user", content=line))
        turns = converse(
            sampler, sampler.policy.template, dialogue, tools, execute, max_turns=_MAX_TURNS, params=params
        )
        dialogue += turns
        for turn in turns:
            _print_turn(turn)


def _lines() -> Iterator[str]:
    """What the user types, without empty lines, until the input ends."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        console.say("Type a message; Ctrl-D ends.")
    while True:
        try:
            line = input("> " if is_terminal else "").strip()
        except EOFError:
            return
        if line:
            if not is_terminal:
                console.say(f"> {line}")
            yield line


def _print_turn(turn: Message) -> None:
    screen = console.make_console()
    if turn.role == "tool":
        screen.print(Text(f"  {turn.name} → {turn.content}", style="yellow"), soft_wrap=True)
        return
    if turn.reasoning:
        screen.print(Text(turn.reasoning, style="dim"), soft_wrap=True)
    if turn.content:
        screen.print(Text(turn.content), soft_wrap=True)
    for call in turn.tool_calls:
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        screen.print(Text(f"  {call.name}({arguments})", style="cyan"), soft_wrap=True)


def _sampler(model: str) -> TorchSampler:
    from strop.models import Policy
    from strop.sampling import TorchSampler

    local = Workspace.here().path(model)
    return TorchSampler(Policy.load(local if local.exists() else model))


def _setting(world: str | None, tenant: str) -> tuple[tuple[Message, ...], tuple[Any, ...]]:
    """The turns before the user's first, and the tools."""
    if world is None:
        return (), ()
    from strop.worlds import get_world

    found = get_world(world)
    return found.opening(tenant), found.tools


def _execute(world: str | None, tenant: str, call: ToolCall) -> str:
    if world is None:
        return json.dumps({"error": "there are no tools; start the chat with --world"})
    from strop.worlds import get_world

    return get_world(world).execute(call, tenant=tenant)
