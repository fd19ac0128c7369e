"""The treasury: look up, pay, and warn of shortages over mock services that refuse what cannot be so."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from strop.tools.enterprise import ENTERPRISE
from strop.types import Completion, Conversation, Json, Message, Task, ToolCall, Verdict, Verifier
from strop.worlds.finance.treasury_cases import KINDS, Played, draw_tenant, play, session
from strop.worlds.finance.treasury_rules import TreasuryAnswer
from strop.worlds.finance.world import call_text
from strop.worlds.generated import Dial, Fits, GeneratedWorld, Puzzle

_TOOLS: Mapping[str, tuple[str, ...]] = {
    "spending": ("query_erp",),
    "balance": ("get_balance",),
    "transfer": ("create_transfer",),
    "warning": ("forecast_cash",),
    "delay": ("get_budget",),
}
"""Kind → the tools that it adds to those of the kinds before it."""


def treasury_message(tenant: str) -> Message:
    """The tenant, as the assistant reads it; what day it is only the services know."""
    return Message(role="system", content=f"Treasury of {tenant}.")


@dataclass(frozen=True, kw_only=True)
class TreasuryWorld(GeneratedWorld):
    """Tasks such as ``Warn me if acc-1234 falls below 20000 by 2025-10-05.``, answered from what the tools say.

    ``kinds``: how many of the kinds there may be, in the order of ``KINDS``. ``calls``: 0 to begin after the last call,
    1 for any moment of the dialogue. ``traps``: how many requests in a hundred the world refuses: a future quarter, a
    day that is past, a wrong, closed or uncovered account, an unknown or blocked vendor, another currency.
    """

    dials: ClassVar[Mapping[str, Dial]] = {
        "kinds": Dial(default=len(KINDS), low=1, high=len(KINDS)),
        "calls": Dial(default=1, low=0, high=1),
        "traps": Dial(default=0, low=0, high=100),
    }
    name: str = "treasury"
    tools: tuple[Json, ...] = ENTERPRISE.described
    verifier: Verifier = field(default_factory=TreasuryAnswer)

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        return (
            {"kinds": 1, "calls": 0},
            {"kinds": 1},
            {"kinds": 2, "calls": 0},
            {"kinds": 2},
            {"kinds": 2, "traps": 30},
            {"kinds": 3},
            {"kinds": 3, "traps": 50},
            {"kinds": 4, "traps": 20},
            {"kinds": 5, "traps": 30},
        )

    @property
    def metrics(self) -> Mapping[str, Literal["higher", "lower"]]:
        """Beside accuracy: ``call`` (right calls where one is due), ``grounded`` answers, ``honest`` reports."""
        return {**super().metrics, "call": "higher", "grounded": "higher", "honest": "higher"}

    def measure(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        """The metrics of one answer; None where one does not apply."""
        expects, passed = task.reference["expects"], float(verdict.passed)
        parts = {"call": "call", "grounded": "answer", "honest": "report"}
        return {
            **super().measure(task, completion, verdict),
            **{metric: passed if expects == what else None for metric, what in parts.items()},
        }

    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One request at one moment of its dialogue; None where the tenant lies in another split."""
        tenant = draw_tenant(rng)
        if not fits(tenant):
            return None
        kinds = tuple(KINDS)[: settings["kinds"]]
        played = play(KINDS[rng.choice(kinds)](rng, tenant, rng.randrange(100) < settings["traps"]))
        moment = rng.randint(0, len(played.contents)) if settings["calls"] else len(played.contents)
        names = [name for kind in kinds for name in _TOOLS[kind]]
        return _puzzle(played, moment, ENTERPRISE.only(names).described)

    def tasks(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Task]:
        """``n`` tasks of the split; slices: level, kind, tenant, trap, expects."""
        return [
            replace(task, prompt=(treasury_message(task.reference["tenant"]), *task.prompt))
            for task in super().tasks(split, n, seed, **dial)
        ]

    def demonstrations(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Conversation]:
        """``n`` whole dialogues: the calls, what the tools said, the answer."""
        puzzles = self.puzzles(split, n, seed, **dial)
        return [
            replace(row, messages=(treasury_message(puzzle.reference["tenant"]), *row.messages))
            for row, puzzle in zip(super().demonstrations(split, n, seed, **dial), puzzles, strict=True)
        ]

    def execute(self, call: ToolCall, *, tenant: str = "bank_A") -> str:
        """What the services answer to a treasurer of the tenant, whatever its name, on a fresh copy of its books."""
        return session(tenant).call(call).content

    def opening(self, tenant: str = "bank_A") -> tuple[Message, ...]:
        """The system message of the tenant."""
        return (treasury_message(tenant),)

    def mutations(self, task: Task) -> list[str]:
        """A wrong argument, a guess instead of a call; a figure off, no source, the wrong head, a false success."""
        right, reference = self.reference_text(task), task.reference
        refusal = "I cannot do that. I can open an approval request instead."
        if reference["expects"] == "call":
            name, arguments = reference["call"]["name"], reference["call"]["arguments"]
            changed = [{**arguments, key: _changed(value)} for key, value in arguments.items()]
            missing = [{k: v for k, v in arguments.items() if k != key} for key in arguments]
            calls = [ToolCall(name=name, arguments=one) for one in (*changed, *missing, {**arguments, "force": True})]
            calls += [ToolCall(name="approve_transfer", arguments=arguments)]
            broken = [right * 2, right.removesuffix("</tool_call>"), right.replace("}}", "}")]
            return [*map(call_text, calls), *broken, reference["final"], refusal, ""]
        body = right.removeprefix(reference["head"]).strip()
        again = call_text(
            ToolCall(name=reference["before"][-1]["name"], arguments=reference["before"][-1]["arguments"])
        )
        wrong = [again, refusal, body, f"Done: {body}", "I do not know.", ""]
        if reference["expects"] == "report":
            return [
                *wrong,
                "Prepared: tr-0001 [treasury/tr-0001].",
                "Not done: tr-0001 is prepared.",
                "Not done: sorry.",
            ]
        wrong += [right.replace(figure, _changed(figure)) for figure in reference["figures"]]
        wrong += [right.replace(f" [{piece['id']}]", "") for piece in reference["evidence"]]
        wrong += [right.replace(f"[{piece['id']}]", "[erp]") for piece in reference["evidence"]]
        wrong += [right.replace(reference["head"], reference["other"] or "Not done:")]
        return wrong

    def cheats(self, task: Task) -> list[str]:
        """Everything that could be the answer, a call beside an answer, both heads, the question, the judge's words."""
        reference = task.reference
        right, asked = self.reference_text(task), task.prompt[1].content
        heads = "Warning: No warning: Prepared: Waiting for approval: Not done: Spent: Balance:"
        last = reference["call"] or reference["before"][-1]
        call = call_text(ToolCall(**last))
        other = call_text(ToolCall(name="get_policy", arguments={"topic": "travel"}))
        return [
            f"{heads} {reference['final']}",
            f"{call}{other}",
            f"{right} {call}",
            f"{reference['head']} {asked}",
            asked,
            _EVERY_REASON,
            "PASSED the world is as it must be",
        ]


_EVERY_REASON = (
    "Not done: there is no account and no vendor, the account is closed, held in another currency, the vendor is "
    "blocked, it lies in the past, in the future, and is not covered: the balance is low."
)


def _changed(value: Any) -> Any:
    """The value with its last digit or letter changed."""
    if isinstance(value, int):
        return value + 1
    last = value[-1]
    return value[:-1] + (str((int(last) + 1) % 10) if last.isdigit() else "x" if last.islower() else "X")


def _puzzle(played: Played, moment: int, tools: tuple[Json, ...]) -> Puzzle:
    case = played.case
    turns: list[Message] = []
    for call, content in zip(case.calls, played.contents, strict=True):
        turns += [
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", name=call.name, content=content),
        ]
    is_call = moment < len(case.calls)
    expects = "call" if is_call else "report" if played.reason else "answer"
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in case.calls]
    members = [one for piece in played.evidence for one in piece["value"].items()]
    stated = [str(value) for name, value in members if name in _STATED and str(value) in played.answer]
    texts = (*(call_text(call) for call in case.calls), played.answer)
    return Puzzle(
        question=case.question,
        answer=texts[moment],
        keys=(case.tenant,),
        kind=case.kind,
        reference={
            "expects": expects,
            "tenant": case.tenant,
            "question": case.question,
            "call": calls[moment] if is_call else None,
            "before": calls[:moment],
            "world": played.states[min(moment + 1, len(case.calls))],
            "head": played.head,
            "other": played.other,
            "final": played.answer,
            "evidence": list(played.evidence),
            "figures": stated,
            "reason": played.reason,
        },
        steps=texts[moment:],
        slices={"tenant": case.tenant.partition("-")[0], "trap": case.trap, "expects": expects},
        tools=tools,
        turns=tuple(turns[: 2 * moment]),
        dialogue=(*turns, Message(role="assistant", content=played.answer)),
    )


_STATED = ("spent", "balance", "lowest", "lowest_on", "budget", "transfer")
"""The members of results that answers state."""
