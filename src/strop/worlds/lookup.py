"""Key-value lookup: copy from notes, follow a reference, or fetch with a tool what the notes do not hold."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from strop.digests import digest_file, digest_json
from strop.types import Completion, Json, Message, Task, ToolCall, Verdict, Verifier
from strop.verifiers import ExactAnswer, ToolCallAnswer
from strop.worlds.generated import Dial, Fits, GeneratedWorld, Puzzle

TOOL: Json = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "What is stored under a key: its value, or the key to see instead.",
        "parameters": {
            "type": "object",
            "properties": {"key": {"type": "string", "minLength": 1}},
            "required": ["key"],
            "additionalProperties": False,
        },
    },
}
_FIRST = ("Ba", "Be", "Da", "Do", "Fa", "Fe", "Ga", "Go", "Ka", "Ko", "La", "Lu", "Ma", "Mo", "Na", "Ne", "Ra", "Ro")
_MIDDLE = ("ba", "de", "fi", "go", "ka", "le", "mi", "no", "ra", "se", "ti", "vo")
_LAST = ("b", "d", "k", "l", "m", "n", "r", "s", "t", "x", "da", "ko", "la", "mi", "na", "ro")
TENANT = "bank_A"


def draw_key(rng: random.Random) -> str:
    """An invented name out of 3,456."""
    return rng.choice(_FIRST) + rng.choice(_MIDDLE) + rng.choice(_LAST)


# ------------------------------------------------------------------------------------------------------------ the store


def stored(key: str, tenant: str = TENANT) -> tuple[bool, str]:
    """Whether the store refers to another key (of one key in three it does), and that key or else the value."""
    drawn = hashlib.sha256(f"lookup/{tenant}/{key}".encode()).digest()
    if drawn[0] % 3 == 0:
        rng = random.Random(int.from_bytes(drawn, "big"))
        return True, draw_key(rng)
    return False, str(1000 + int.from_bytes(drawn[1:5], "big") % 9000)


def chain_of(key: str, max_hops: int, tenant: str = TENANT) -> tuple[str, ...]:
    """The keys that must be asked for one after the other from ``key`` on: at most ``max_hops`` + 1 of them."""
    keys = [key]
    while len(keys) <= max_hops and (found := stored(keys[-1], tenant))[0]:
        keys.append(found[1])
    return tuple(keys)


def execute(call: ToolCall, *, tenant: str = TENANT) -> str:
    """What the store answers: ``{"value": "4717"}``, ``{"see": "Ronor"}``, or an error for a wrong call."""
    key = call.arguments.get("key")
    if call.name != "lookup":
        return json.dumps({"error": f"no tool {call.name}"})
    if set(call.arguments) != {"key"} or not isinstance(key, str) or not key:
        return json.dumps({"error": "lookup needs one argument: key, a text"})
    refers, what = stored(key, tenant)
    return json.dumps({"see" if refers else "value": what})


# ------------------------------------------------------------------------------------------------------------ the judge


@dataclass(frozen=True, kw_only=True)
class LookupAnswer:
    """Passes the value that was asked for and nothing else, or exactly the call that is due.

    The answer is the value alone, ``KEY is VALUE``, or anything that ends in ``Answer: VALUE``. Where the value stands
    in the prompt a call fails, and where it does not a value fails, even the right one: it was guessed.
    """

    name: str = "lookup"

    @property
    def digest(self) -> str:
        """Identity of this file and of the two verifiers that it rests on."""
        return digest_json([digest_file(__file__), ExactAnswer().digest, ToolCallAnswer().digest])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        verdict = ToolCallAnswer()(task, completion)
        if task.reference["call"] is not None:
            return verdict
        return ExactAnswer()(task, completion) if verdict.passed else verdict


def call_text(key: str) -> str:
    """The call as the assistant writes it."""
    return f"<tool_call>{json.dumps({'name': 'lookup', 'arguments': {'key': key}})}</tool_call>"


# ------------------------------------------------------------------------------------------------------------ the world


def _call(key: str) -> Message:
    return Message(role="assistant", tool_calls=(ToolCall(name="lookup", arguments={"key": key}),))


def _fetched(key: str) -> tuple[Message, Message]:
    said = execute(ToolCall(name="lookup", arguments={"key": key}))
    return _call(key), Message(role="tool", name="lookup", content=said)


def _question(notes: Mapping[str, str], asked: str) -> str:
    listed = ", ".join(f"{key} {value}" for key, value in notes.items())
    return f"Notes: {listed}. What is {asked}?" if notes else f"What is {asked}?"


def _reference(asked: str, value: str, call: str | None) -> dict[str, Any]:
    due = None if call is None else {"name": "lookup", "arguments": {"key": call}}
    return {"answer": [value, f"{asked} is {value}"], "call": due, "key": asked, "value": value}


@dataclass(frozen=True, kw_only=True)
class LookupWorld(GeneratedWorld):
    """Tasks ``Notes: Kanol 4717, Dorak 2210. What is Dorak?``; pass rates fall with ``keys`` and ``hops``.

    ``keys``: how many the notes hold. ``hops``: how many references lie between the key and its value. ``tool``: with 1
    the value is mostly not in the notes: the task asks for the first call, for the next one, or for the answer
    after the last; one in five can be answered from the notes, and then a call is wrong.
    """

    dials: ClassVar[Mapping[str, Dial]] = {
        "keys": Dial(default=2, low=1, high=40),
        "hops": Dial(default=0, low=0, high=3),
        "tool": Dial(default=0, low=0, high=1),
    }
    name: str = "lookup"
    tools: tuple[Json, ...] = (TOOL,)
    verifier: Verifier = field(default_factory=LookupAnswer)

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        return (
            {"keys": 1},
            {"keys": 2},
            {"keys": 4},
            {"keys": 8},
            {"keys": 4, "hops": 1},
            {"keys": 16},
            {"keys": 8, "hops": 2},
            {"keys": 2, "tool": 1},
            {"keys": 4, "hops": 2, "tool": 1},
        )

    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One puzzle; None where the notes cannot hold the chain or the store's chain is of another length."""
        keys, hops = settings["keys"], settings["hops"]
        if settings["tool"] and rng.random() < 0.8:
            return _fetching(rng, keys, hops)
        if hops >= keys:
            return None
        names = [draw_key(rng) for _ in range(keys)]
        if len(set(names)) < keys:
            return None
        value, chain = str(rng.randint(1000, 9999)), names[: hops + 1]
        notes = {key: str(rng.randint(1000, 9999)) for key in names}
        notes |= {here: f"see {there}" for here, there in pairwise(chain)} | {chain[-1]: value}
        rng.shuffle(names)
        return Puzzle(
            question=_question({key: notes[key] for key in names}, chain[0]),
            answer=_said(chain, value),
            keys=(chain[0],),
            kind="notes",
            reference={**_reference(chain[0], value, None), "others": [notes[key] for key in names]},
            steps=(*_links(chain), f"{chain[-1]} is {value}"),
            slices={"hops": str(hops)},
            tools=self.tools if settings["tool"] else (),
        )

    def mutations(self, task: Task) -> list[str]:
        """Another value of the notes, a digit off, a wrong or needless call, a guess where a call is due."""
        value, call, key = task.reference["value"], task.reference["call"], task.reference["key"]
        off = str((int(value) + 1) % 10_000)
        if call is not None:
            right = call["arguments"]["key"]
            return [
                call_text(f"{right}x"),
                call_text(right).replace("lookup", "find"),
                call_text(right).replace('"key"', '"name"'),
                call_text(right) * 2,
                call_text(right).removesuffix("</tool_call>"),
                f"{key} is {value}.",
                off,
                "",
            ]
        wrong = [other for other in task.reference.get("others", ()) if other != value]
        return [*(f"{key} is {other}." for other in wrong[:3]), off, f"{key} is {off}.", call_text(key), ""]

    def cheats(self, task: Task) -> list[str]:
        """Everything at once, the question again, the value beside a call, the verifier's own words."""
        value, key = task.reference["value"], task.reference["key"]
        every = ", ".join([value, *task.reference.get("others", ()), "1234"])
        both = f"{call_text(key)}{call_text(value)} Answer: {value}"
        return [f"{key} is {every}.", task.prompt[0].content, both, "PASSED", f"It is not {value}."]

    def execute(self, call: ToolCall, *, tenant: str = TENANT) -> str:
        """What the store answers; the same tenant and key always get the same."""
        return execute(call, tenant=tenant)


def _said(chain: list[str], value: str) -> str:
    if len(chain) == 1:
        return f"{chain[0]} is {value}."
    return f"{'; '.join(_links(chain))}; {chain[-1]} is {value}. Answer: {value}"


def _links(chain: list[str]) -> list[str]:
    return [f"{here} see {there}" for here, there in pairwise(chain)]


def _fetching(rng: random.Random, num_notes: int, hops: int) -> Puzzle | None:
    """A key that only the store knows, asked for at one of the moments of the dialogue."""
    chain = chain_of(draw_key(rng), hops)
    value = stored(chain[-1])
    if len(chain) != hops + 1 or value[0] or len(set(chain)) < len(chain):
        return None
    others = {draw_key(rng): str(rng.randint(1000, 9999)) for _ in range(num_notes)}
    if others.keys() & set(chain):
        return None
    moment = rng.randrange(len(chain) + 1)
    done = tuple(turn for key in chain[:moment] for turn in _fetched(key))
    due = chain[moment] if moment < len(chain) else None
    reply = f"{chain[0]} is {value[1]}."
    everything = (*(turn for key in chain for turn in _fetched(key)), Message(role="assistant", content=reply))
    return Puzzle(
        question=_question(others, chain[0]),
        answer=reply if due is None else call_text(due),
        keys=(chain[0],),
        kind="evidence" if due is None else "call",
        reference={**_reference(chain[0], value[1], due), "others": list(others.values())},
        steps=(*(call_text(key) for key in chain), reply)[moment:],
        slices={"hops": str(hops)},
        tools=(TOOL,),
        turns=done,
        dialogue=everything,
    )
