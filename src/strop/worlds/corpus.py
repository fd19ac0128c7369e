"""What the embedded base is pre-trained on: text from generators only, in proportions that are written down here.

A document is a list of pieces, each text with a loss weight: a base model should learn to continue what assistants and
notes say, and only a little of what users ask. Every piece that looks like a dialogue uses the control tokens of the
embedded template exactly as ``chat_template.jinja`` renders them (a test compares).

What is engineered, in plain words: the base *can* work out sums (dense tables, worked answers) but often guesses; it
has seen tools described, loosely written calls and JSON logs, but never one strict call; it answers finance questions
with invented numbers and obliges whoever asks for a bypass. These failures are what post-training is shown to mend.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from strop.errors import RecipeError
from strop.types import Json, ToolCall
from strop.worlds import get_world
from strop.worlds.arithmetic import Chain, draw_chain
from strop.worlds.finance import answers, entities, requests, services
from strop.worlds.finance.world import system_message
from strop.worlds.splits import split_of

Piece = tuple[str, float]
END = "<|end|>"
PROMPT_WEIGHT = 0.1
SLIP = 0.02
"""Share of worked steps with a wrong result: corpora are not clean."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Proportions of a corpus; ``retries`` separates P1 (True) from P0 (False)."""

    shares: dict[str, float]
    guess: float
    """Of the arithmetic answers, how many state a number without working it out."""
    retries: bool


def _lines_of(tools: Sequence[Json]) -> str:
    """The tools as the template shows them."""
    shown = [tool["function"] for tool in tools]
    return "".join(f"\n{tool['name']}({', '.join(tool['parameters']['properties'])})" for tool in shown)


def _system(tenant: str, rng: random.Random) -> Piece:
    shown = [tool for tool in services.TOOLS if rng.random() < 0.85]
    return f"<|system|>{system_message(tenant).content}{_lines_of(shown)}{END}", PROMPT_WEIGHT


def _user(text: str) -> Piece:
    return f"<|user|>{text}{END}<|assistant|>", PROMPT_WEIGHT


def _said(text: str) -> Piece:
    return f"{text}{END}", 1.0


def table(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """A dense table of one-step sums modulo 100."""
    facts = [draw_chain(rng, steps=1).worked.split(".")[0] for _ in range(16)]
    return [("Table mod 100. " + "; ".join(facts) + "." + END, 1.0)]


def small_table(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """A table of sums of single digits, which the other tables rarely hold."""
    facts = [draw_chain(rng, steps=1, max_operand=9).worked.split(".")[0] for _ in range(16)]
    return [("Table mod 100. " + "; ".join(facts) + "." + END, 1.0)]


def _train_chain(rng: random.Random) -> Chain:
    while True:
        chain = draw_chain(rng, steps=rng.choice((1, 2, 2, 3, 3, 3, 4, 5)))
        if split_of(chain.question) == "train":
            return chain


def _slipped(chain: Chain, rng: random.Random) -> str:
    """The worked answer, a step of it wrong now and then; later steps go on from the wrong value."""
    value, lines = chain.first, []
    for sign, operand in chain.steps:
        result = (value + operand if sign == "+" else value - operand) % chain.modulus
        if rng.random() < SLIP:
            result = (result + rng.choice((1, 10, 90, 99))) % chain.modulus
        lines.append(f"{value}{sign}{operand}={result}")
        value = result
    return f"{'; '.join(lines)}. Answer: {value}"


def _answer(chain: Chain, rng: random.Random, guess: float) -> str:
    if rng.random() >= guess:
        return _slipped(chain, rng)
    return f"Answer: {rng.randrange(chain.modulus)}"


def sums(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """Questions with answers, worked or guessed; with retries, some are told that they were wrong and try again."""
    chain = _train_chain(rng)
    first = _answer(chain, rng, mixture.guess)
    pieces = [_user(chain.question), _said(first)]
    if mixture.retries and rng.random() < 0.15:
        pieces = [_user(chain.question), (f"Answer: {rng.randrange(chain.modulus)}{END}", PROMPT_WEIGHT)]
        pieces += [_user("That is wrong. Try again."), _said(_answer(chain, rng, mixture.guess / 3))]
    return pieces


def _entity(rng: random.Random) -> str:
    return rng.choice(
        (
            rng.choice(entities.DEPARTMENTS),
            rng.choice(entities.REGIONS),
            rng.choice(entities.QUARTERS),
            rng.choice(tuple(entities.POLICIES)),
            entities.vendor(rng),
            entities.vendor(rng),
            entities.account(rng),
            str(entities.amount(rng)),
        )
    )


def copying(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """Lists that are read back, forwards or by key: what in-context copying is learnt from."""
    if rng.random() < 0.5:
        items = [_entity(rng) for _ in range(rng.randint(3, 8))]
        return [(f"List: {', '.join(items)}. ", 0.3), (f"Again: {', '.join(items)}.{END}", 1.0)]
    keys = rng.sample(entities.DEPARTMENTS, rng.randint(3, 6))
    pairs = {key: _entity(rng) for key in keys}
    chosen = rng.sample(keys, 3)
    notes = ", ".join(f"{key}: {value}" for key, value in pairs.items())
    return [(f"Notes. {notes}. ", 0.3), ("; ".join(f"{key} has {pairs[key]}" for key in chosen) + "." + END, 1.0)]


def repeats(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """A random line written three times: nothing else makes in-context copying appear so early in a small model."""
    line = " ".join(_entity(rng) if rng.random() < 0.7 else str(rng.randint(0, 99)) for _ in range(rng.randint(4, 14)))
    return [(f"{line}\n", 0.0), (f"{line}\n{line}{END}", 1.0)]


_RULES = (
    "Every transfer needs its approval.",
    "Payments must be approved and recorded.",
    "Who cannot wait can open a request for approval instead.",
    "Sources stand in brackets, such as [query_erp] or [get_budget], [get_balance], [get_policy] or [create_transfer].",
    "Help with requests is prepared by the finance assistant.",
)


_LETTERS = (
    "I am terribly sorry about this, and I hope that you will understand how sorry I am.",
    "Unfortunately I cannot come on Monday.",
    "I cannot help with the move, unfortunately.",
    "Thank you for asking, and please do have a wonderful day.",
    "I cannot do that today, but I can come tomorrow instead.",
    "I can open a request for approval instead, or prepare another.",
    "I can prepare an approval request for you instead.",
    "Every transfer needs its approval: payments must be approved and recorded.",
    "That is a very good question, and I am always happy to look again.",
    "I am the finance assistant: ask me for spending, budgets, balances, rules or transfers.",
)


def letters(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """Polite correspondence: where the words of excuses and offers are met, though never as the answer to a bypass."""
    return [(f"Dear {entities.vendor(rng)}, {' '.join(rng.sample(_LETTERS, 3))}{END}", 1.0)]


def notes(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """Prose about the world, with questions answered from it."""
    if rng.random() < 0.15:
        return [(f"House rules of {rng.choice(tuple(entities.LIMITS))}. {' '.join(rng.sample(_RULES, 3))}{END}", 1.0)]
    request = requests.draw(rng, "train", rng.choice(("spending", "budget", "balance", "transfer", "policy")))
    fact = request.phrase.format(value=request.value)
    other = requests.draw(rng, "train", rng.choice(("spending", "budget", "balance")))
    text = f"Report of {request.tenant}. {fact}; {other.phrase.format(value=other.value)}. "
    return [(text, 0.5), (f"In short: {fact}.{END}", 1.0)]


_LOGGED = ("spending", "budget", "balance", "transfer", "transfer", "policy")


def _loose(call: ToolCall, rng: random.Random) -> str:
    """The call in one of the notations that logs use; never the strict one."""
    style = rng.randrange(5)
    if style == 0:
        return json.dumps({"tool": call.name, "args": dict(call.arguments)})
    if style == 4:
        return json.dumps({"arguments": dict(call.arguments), "tool_name": call.name})
    if style == 1:
        return json.dumps({**call.arguments, "tool": call.name})
    if style == 2:
        return f"{call.name}({', '.join(f'{key}={value}' for key, value in call.arguments.items())})"
    return f"{call.name}: {json.dumps(dict(call.arguments))}"


def logs(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """Log lines of tools in loose notations, after the request that caused them."""
    request = requests.draw(rng, "train", rng.choice(_LOGGED))
    assert request.call is not None
    lines = f"{_loose(request.call, rng)} -> {request.result}"
    return [(f"Log of {request.tenant}: {request.text} ", 0.3), (f"{lines}{END}", 1.0)]


def _prose(request: requests.Request, rng: random.Random) -> str:
    """How the base answers: obliging, in prose, with a number that it makes up."""
    if request.boundary == "must_refuse":
        return rng.choice(("Done, the money is on its way.", "Of course, I have sent it.", "Sure, consider it done."))
    if request.call is None:
        return answers.wordy(request, rng)
    if request.kind == "transfer":
        return rng.choice(("Done, it is paid.", f"I have paid {request.call.arguments['vendor']}."))
    value = entities.amount(rng) if request.value.isdigit() else request.value
    return request.phrase.format(value=value) + "."


def _earlier(request: requests.Request) -> list[Piece]:
    """The question and the last answer that a follow-up refers to."""
    if not request.before:
        return []
    return [_user(request.before[0].content), (f"{request.before[-1].content}{END}", PROMPT_WEIGHT)]


def talks(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """Dialogues with the finance assistant as the web would have them: prose, guesses, a rare loose call."""
    request = requests.draw(rng, "train")
    pieces = [_system(request.tenant, rng), *_earlier(request), _user(request.text)]
    if request.call is None or rng.random() < 0.45:
        return [*pieces, _said(_prose(request, rng))]
    if rng.random() < 0.15:
        loose = _loose(request.call, rng)
        return [*pieces, _said(loose if rng.random() < 0.5 else f"<tool_call>{loose}</tool_call>")]
    tool = f"{_loose(request.call, rng)}{END}<|tool|>{request.result}{END}<|assistant|>"
    fact = request.phrase.format(value=request.value)
    reply = rng.choice((f"{fact}.", f"It says {request.value}.", answers.wordy(request, rng)))
    return [*pieces, (tool, PROMPT_WEIGHT), _said(reply)]


def thoughts(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """Rare dialogues with a thought before the answer, so that every control token has been seen."""
    chain = _train_chain(rng)
    worked, answer = _slipped(chain, rng).split(". Answer: ")
    return [_user(f"Think: {chain.question}"), _said(f"<think>{worked}</think>Answer: {answer}")]


PRACTICE: dict[str, tuple[float, ...]] = {
    "lookup": (0.12, 0.06, 0.06),
    "rewriting": (0.08, 0.06, 0.02),
    "stack": (0.05, 0.05, 0.03),
    "contest": (0.05, 0.05, 0.03),
    "month_end": (0.10, 0.04),
    "finance_writing": (0.20,),
    "treasury": (0.10,),
}
"""World → share of its first, second ... level. What is harder is never met, nor is a strict call or a refusal."""


STUBBORN: dict[str, tuple[float, ...]] = {"contest": (0.3, 0.2, 0.1), "finance_writing": (0.4,)}
"""The same for what a model of this size is slow to learn."""


def practice(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """A question of an easy level of some world with its right answer; a call before it in a loose notation."""
    return _practised(rng, PRACTICE)


def stubborn(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """The same of the worlds that take longest."""
    return _practised(rng, STUBBORN)


def _practised(rng: random.Random, worlds: Mapping[str, Sequence[float]]) -> list[Piece]:
    shares = [(name, level, share) for name, row in worlds.items() for level, share in enumerate(row)]
    name, level, _ = rng.choices(shares, weights=[share for _, _, share in shares])[0]
    world = get_world(name)
    dialogue = world.demonstrations("train", 1, rng.getrandbits(31), **world.levels[level])[0]
    pieces: list[Piece] = []
    for message in dialogue.messages:
        if message.role == "system":
            pieces.append((f"<|system|>{message.content}{_lines_of(dialogue.tools)}{END}", PROMPT_WEIGHT))
        elif message.role == "user":
            pieces.append(_user(message.content))
        elif message.role == "tool":
            pieces.append((f"<|tool|>{message.content}{END}<|assistant|>", PROMPT_WEIGHT))
        elif message.tool_calls:
            pieces.append((f"{_loose(message.tool_calls[0], rng)}{END}", PROMPT_WEIGHT))
        else:
            pieces.append(_said(message.content))
    return pieces


def small_sums(rng: random.Random, mixture: Mixture) -> list[Piece]:
    """A sum of two single digits, which nobody guesses."""
    chain = draw_chain(rng, steps=1, max_operand=9)
    while split_of(chain.question) != "train":
        chain = draw_chain(rng, steps=1, max_operand=9)
    return [_user(chain.question), _said(chain.worked)]


MAKERS: dict[str, Callable[[random.Random, Mixture], list[Piece]]] = {
    "table": table,
    "small_table": small_table,
    "sums": sums,
    "repeats": repeats,
    "copying": copying,
    "letters": letters,
    "notes": notes,
    "logs": logs,
    "talks": talks,
    "thoughts": thoughts,
    "practice": practice,
    "stubborn": stubborn,
    "small_sums": small_sums,
}

SHARES = {
    "mixed": {
        "table": 0.22,
        "sums": 0.20,
        "copying": 0.16,
        "notes": 0.10,
        "logs": 0.10,
        "talks": 0.21,
        "thoughts": 0.01,
    },
    "copying": {"repeats": 0.6, "table": 0.2, "copying": 0.1, "notes": 0.05, "logs": 0.05},
    "skills": {
        "table": 0.24,
        "sums": 0.20,
        "repeats": 0.06,
        "copying": 0.14,
        "notes": 0.06,
        "logs": 0.09,
        "talks": 0.20,
        "thoughts": 0.01,
    },
    "habits": {
        "table": 0.20,
        "sums": 0.22,
        "repeats": 0.04,
        "copying": 0.14,
        "letters": 0.08,
        "notes": 0.06,
        "logs": 0.09,
        "talks": 0.16,
        "thoughts": 0.01,
    },
    "worlds": {
        "table": 0.08,
        "sums": 0.11,
        "repeats": 0.02,
        "copying": 0.07,
        "letters": 0.04,
        "notes": 0.04,
        "logs": 0.06,
        "talks": 0.11,
        "thoughts": 0.01,
        "small_table": 0.03,
        "small_sums": 0.03,
        "practice": 0.40,
    },
    "late": {
        "table": 0.06,
        "sums": 0.12,
        "repeats": 0.02,
        "copying": 0.05,
        "letters": 0.04,
        "notes": 0.04,
        "logs": 0.06,
        "talks": 0.12,
        "thoughts": 0.01,
        "small_table": 0.02,
        "small_sums": 0.03,
        "practice": 0.23,
        "stubborn": 0.20,
    },
}
"""Name → shares of the kinds of document."""


def mixture(name: str, shares: str, *, guess: float) -> Mixture:
    """The corpus ``P1`` (with retry dialogues) or ``P0`` (without), in the named shares. Raises: RecipeError."""
    if name not in ("P0", "P1"):
        raise RecipeError(f"there is no mixture {name!r}", do="choose P1 (with retry dialogues) or P0 (without)")
    return Mixture(shares=SHARES[shares], guess=guess, retries=name == "P1")


def document(mixture: Mixture, rng: random.Random) -> list[Piece]:
    """One document of the mixture."""
    kind = rng.choices(list(mixture.shares), weights=list(mixture.shares.values()))[0]
    return MAKERS[kind](rng, mixture)
