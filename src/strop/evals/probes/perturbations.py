"""Changes of a question that must not change its answer."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from strop.types import Json, Message, Task, ToolCall
from strop.worlds.finance import entities
from strop.worlds.lookup import draw_key

Perturb = Callable[[Task, random.Random], Task | None]
"""The changed task; None where the change does not apply. Reference, call and evidence change with the names."""

_ASIDES = (
    "It rained all morning.",
    "The coffee machine works again.",
    "My colleague sends her regards.",
    "The office moves next spring.",
)
_REWORDED: Mapping[str, str] = {
    "query_erp": "Please look up what {department} in {region} spent in {quarter}.",
    "get_budget": "Which budget does {department} have in {quarter}?",
    "get_balance": "Tell me the balance of {account}.",
    "get_policy": "What does our {topic} policy say?",
    "create_transfer": "A transfer of {amount} to {vendor}, please.",
}


def question_of(task: Task) -> str:
    """What the user said last."""
    return next((turn.content for turn in reversed(task.prompt) if turn.role == "user"), "")


def asked_as(task: Task, question: str) -> Task:
    """The task with another last question."""
    at = max(index for index, turn in enumerate(task.prompt) if turn.role == "user")
    changed = replace(task.prompt[at], content=question)
    return replace(task, prompt=(*task.prompt[:at], changed, *task.prompt[at + 1 :]))


def _spacing(task: Task, rng: random.Random) -> Task | None:
    question = question_of(task)
    return asked_as(task, f" {re.sub(' +', '  ', question)}\n") if " " in question else None


def _case(task: Task, rng: random.Random) -> Task | None:
    question = question_of(task)
    first = re.match(r"[A-Z][a-z]*(?=[ ,:])", question)
    return None if first is None else asked_as(task, first[0].lower() + question[first.end() :])


def _polite(task: Task, rng: random.Random) -> Task | None:
    return asked_as(task, f"Good morning. {question_of(task)} Many thanks.")


def _distractor(task: Task, rng: random.Random) -> Task | None:
    return asked_as(task, f"{rng.choice(_ASIDES)} {question_of(task)}")


def _reworded(task: Task, rng: random.Random) -> Task | None:
    """The same request in words that its world's generator does not use."""
    question = question_of(task)
    patterns = (
        (r"Compute (.+) mod (\d+)\.", r"What is \1 mod \2?"),
        (r"(Notes: .*\. )?What is (\w+)\?", r"\1Tell me \2."),
    )
    for pattern, other in patterns:
        found = re.fullmatch(pattern, question)
        if found:
            return asked_as(task, found.expand(other))
    call = task.reference.get("call")
    if not isinstance(call, Mapping) or call.get("name") not in _REWORDED or task.slices.get("kind") == "follow_up":
        return None
    arguments = {name: value for name, value in call["arguments"].items() if name != "approval"}
    if set(re.findall(r"{(\w+)}", _REWORDED[call["name"]])) != set(arguments):
        return None  # another world's tool of that name
    if not all(str(value) in question for value in arguments.values()):
        return None  # the request says it otherwise: "Which transfers need a second approval?"
    reworded = _REWORDED[call["name"]].format(**arguments)
    return None if reworded == question else asked_as(task, reworded)


def _reordered(task: Task, rng: random.Random) -> Task | None:
    """The notes, or the terms of a sum, in another order."""
    question = question_of(task)
    notes = re.fullmatch(r"Notes: (.*)\. (What is \w+\?)", question)
    if notes:
        entries = notes[1].split(", ")
        turned = [*entries[1:], entries[0]]
        return asked_as(task, f"Notes: {', '.join(turned)}. {notes[2]}") if len(entries) > 1 else None
    terms = re.fullmatch(r"Compute (\d+)((?: [-+] \d+){2,}) mod (\d+)\.", question)
    if terms is None:
        return None
    later = re.findall(r" [-+] \d+", terms[2])
    turned = [*later[1:], later[0]]
    return None if turned == later else asked_as(task, f"Compute {terms[1]}{''.join(turned)} mod {terms[3]}.")


def _renamed(task: Task, rng: random.Random) -> Task | None:
    """Other invented names for the keys of the notes, or for the vendor, wherever they stand."""
    question = question_of(task)
    notes = re.fullmatch(r"Notes: (.*)\. What is (\w+)\?", question)
    call = task.reference.get("call")
    if notes and call is None:
        names = dict.fromkeys(re.findall(r"\b[A-Z]\w+", f"{notes[1]} {notes[2]}"))
        draw = draw_key
    elif isinstance(call, Mapping) and "vendor" in call["arguments"]:
        names, draw = {call["arguments"]["vendor"]: None}, entities.vendor
    else:
        return None
    others: dict[str, str] = {}
    for name in names:
        while name not in others or others[name] in {*names, *(other for key, other in others.items() if key != name)}:
            others[name] = draw(rng)
    return _substituted(task, others)


def _substituted(task: Task, names: Mapping[str, str]) -> Task:
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")

    def text(value: str) -> str:
        return pattern.sub(lambda found: names[found[0]], value)

    def deep(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, Mapping):
            return {key: deep(one) for key, one in value.items()}
        return [deep(one) for one in value] if isinstance(value, list | tuple) else value

    def turn(message: Message) -> Message:
        calls = tuple(ToolCall(name=call.name, arguments=deep(call.arguments)) for call in message.tool_calls)
        return replace(message, content=text(message.content), tool_calls=calls)

    reference: Json = deep(task.reference)
    return replace(task, prompt=tuple(map(turn, task.prompt)), reference=reference)


PERTURBATIONS: Mapping[str, Perturb] = {
    "reworded": _reworded,
    "renamed": _renamed,
    "reordered": _reordered,
    "distractor": _distractor,
    "polite": _polite,
    "spacing": _spacing,
    "case": _case,
}
"""Name → change; the first three need to know the world, the others hold for any question."""
