"""``strop sample`` and ``strop chat``: what a model says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from strop.cli import console
from strop.errors import DataError, RecipeError
from strop.pipeline.workspace import Workspace
from strop.types import Constraint, Message, SamplingParams, ToolCall

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
    top_p: Annotated[float, typer.Option(min=0.01, max=1, help="Keep the likeliest tokens of this mass.")] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, help="Keep the k likeliest tokens; 0 keeps all.")] = 0,
    min_p: Annotated[float, typer.Option(min=0, help="Keep tokens of this share of the likeliest.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1, tokens that were said become unlikelier.")] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends the answer; may be given again.")] = None,
    json_schema: Annotated[Path | None, typer.Option(help="A file with the schema that answers must satisfy.")] = None,
    regex: Annotated[str | None, typer.Option(help="A pattern that answers must match as a whole.")] = None,
    choice: Annotated[list[str] | None, typer.Option(help="An answer that is allowed; may be given again.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Print each answer."""
    from strop.sampling import row_seed
    from strop.sampling.params import check_params

    params = SamplingParams(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=tuple(stop or ()),
        constraint=_constraint(json_schema, regex, choice),
    )
    check_params(params)  # before the model is loaded
    sampler = _sampler(model)
    opening, tools = _setting(world, tenant)
    text = sys.stdin.read().strip() if prompt == "-" else prompt
    ids = sampler.policy.template.prompt_ids([*opening, Message(role="user", content=text)], tools)
    for completion in sampler.sample([ids] * num, params, seeds=[row_seed(seed, index) for index in range(num)]):
        cut = " …[cut off]" if completion.is_truncated else ""
        console.say(completion.text + cut)


def _constraint(json_schema: Path | None, regex: str | None, choice: list[str] | None) -> Constraint | None:
    """What the answers are held to. Raises: RecipeError for two at once, DataError for a file that is no JSON."""
    given = [name for name, value in (("json-schema", json_schema), ("regex", regex), ("choice", choice)) if value]
    if len(given) > 1:
        raise RecipeError(
            f"--{' and --'.join(given)} were given together", why="an answer is held to one language", do="choose one"
        )
    if json_schema is not None:
        try:
            return Constraint(kind="json_schema", value=json.loads(json_schema.read_text()))
        except (OSError, ValueError) as error:
            raise DataError(
                f"the schema {json_schema} cannot be read",
                where=str(json_schema),
                why=str(error),
                do="name a file that holds one JSON Schema",
            ) from error
    if regex is not None:
        return Constraint(kind="regex", value=regex)
    return Constraint(kind="choice", value=tuple(choice)) if choice else None


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
    from strop.sampling.params import check_params

    params = SamplingParams(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
    check_params(params)  # before the model is loaded
    sampler = _sampler(model)
    opening, tools = _setting(world, tenant)
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
