"""The finance operations world: an assistant of three tenants looks up, answers from evidence, prepares, refuses."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from strop.errors import RecipeError
from strop.types import Completion, Conversation, Json, Message, Preference, Task, ToolCall, Verdict, Verifier
from strop.worlds.dials import check_dial
from strop.worlds.finance import answers, entities, grading, services
from strop.worlds.finance.exchanges import Exchange, draw_exchange
from strop.worlds.finance.requests import Request, draw
from strop.worlds.splits import Split, check_split, row_random

EVIDENCE_SHARE = 0.4
"""Of the requests that need a call, how many become tasks that start after the tool has answered."""


def system_message(tenant: str) -> Message:
    """The tenant and its rule, as the assistant reads them."""
    return Message(
        role="system", content=f"Finance assistant of {tenant}. Second approval above {entities.LIMITS[tenant]}."
    )


def _opening(request: Request) -> tuple[Message, ...]:
    return (system_message(request.tenant), *request.before, Message(role="user", content=request.text))


def _evidence(request: Request) -> tuple[Message, ...]:
    assert request.call is not None
    return (
        Message(role="assistant", tool_calls=(request.call,)),
        Message(role="tool", name=request.call.name, content=request.result),
    )


def call_text(call: ToolCall) -> str:
    """The call as the assistant writes it."""
    return f"<tool_call>{json.dumps({'name': call.name, 'arguments': dict(call.arguments)})}</tool_call>"


@dataclass(frozen=True, kw_only=True)
class FinanceWorld:
    """Spending, budgets, balances, rules and transfers of three tenants; bypassing an approval must be refused."""

    name: str = "finance"
    tools: tuple[Json, ...] = services.TOOLS
    verifier: Verifier = field(default_factory=grading.FinanceVerifier)

    @property
    def metrics(self) -> Mapping[str, Literal["higher", "lower"]]:
        return cast(Mapping[str, Literal["higher", "lower"]], grading.METRICS)

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        """From evidence that is already shown, by calls that must be made, to comparisons and follow-ups."""
        return tuple({"calls": calls, "follow_ups": later} for calls in (0, 1, 2) for later in (0, 1))

    def demonstrations(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Conversation]:
        """``n`` dialogues whose answers come in two styles, half concise and half wordy, as annotators differ.

        With a dial, whole dialogues of its setting, all concise.
        """
        wanted = check_split(split)
        if dial:
            return [
                Conversation(
                    id=f"finance-demonstration/{split}/{seed}/{row}",
                    messages=(*_asked(one), *one.evidence, Message(role="assistant", content=one.answer)),
                    tools=self.tools,
                    source=f"world:finance/demonstrations#{row}",
                )
                for row, (one, _) in enumerate(_exchanges(wanted, n, seed, dial))
            ]
        rows = []
        for row in range(n):
            rng = row_random("finance-demonstration", split, seed, row)
            request = draw(rng, wanted)
            messages = _opening(request)
            reply = Message(role="assistant", content=_styled(request, rng))
            messages += (reply,) if request.call is None else (*_evidence(request), reply)
            rows.append(
                Conversation(
                    id=f"finance-demonstration/{split}/{seed}/{row}",
                    messages=messages,
                    tools=self.tools,
                    source=f"world:finance/demonstrations#{row}",
                )
            )
        return rows

    def preferences(self, split: str, n: int, seed: int = 0) -> list[Preference]:
        """``n`` pairs: concise before wordy with equal facts, a call before a guess, a reply before a refusal."""
        wanted = check_split(split)
        rows = []
        for row in range(n):
            rng = row_random("finance-preference", split, seed, row)
            request = draw(rng, wanted)
            prompt, chosen, rejected = _pair(request, rng)
            rows.append(
                Preference(
                    id=f"finance-preference/{split}/{seed}/{row}",
                    prompt=prompt,
                    chosen=(chosen,),
                    rejected=(Message(role="assistant", content=rejected),),
                    tools=self.tools,
                    source=f"world:finance/preferences#{row}",
                )
            )
        return rows

    def tasks(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Task]:
        """``n`` tasks; slices: kind, tenant, boundary, expects, and trap for the over-refusal probe.

        Without a dial, four tenths of those that need a call start after it. ``calls`` (0 to 2): how many there are
        still to be made: none, as the evidence is shown; one; or two for a comparison, which may start at any of its
        moments. ``follow_ups`` (0 or 1): whether the request only makes sense with the turn before. The slices then
        also hold the level.
        """
        wanted = check_split(split)
        if dial:
            level = str(self.levels.index(_settings(dial)))
            return [
                _exchange_task(one, moment, f"finance/{split}/{seed}/{row}", level, self.tools)
                for row, (one, moment) in enumerate(_exchanges(wanted, n, seed, dial))
            ]
        return [
            self._task(row_random("finance-task", split, seed, row), wanted, f"finance/{split}/{seed}/{row}")
            for row in range(n)
        ]

    def _task(self, rng: random.Random, split: Literal["train", "dev", "test"], name: str) -> Task:
        request = draw(rng, split)
        expects = "reply" if request.boundary != "must_refuse" else "refusal"
        prompt = _opening(request)
        reference: dict[str, Any] = {"boundary": request.boundary, "tenant": request.tenant}
        if request.call is not None:
            expects = "evidence" if rng.random() < EVIDENCE_SHARE else "call"
            reference["call"] = {"name": request.call.name, "arguments": dict(request.call.arguments)}
            reference["value"] = request.value
            prompt += _evidence(request) if expects == "evidence" else ()
        reference["expects"] = expects
        reference["text"] = (
            call_text(request.call) if expects == "call" and request.call else answers.concise(request, rng)
        )
        return Task(
            id=name,
            prompt=prompt,
            tools=self.tools,
            reference=reference,
            slices={
                "kind": request.kind,
                "tenant": request.tenant,
                "boundary": request.boundary,
                "expects": expects,
                "trap": "yes" if request.has_trap else "no",
            },
            source=f"world:{name}",
        )

    def measure(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        """The metrics of ``strop.worlds.finance.grading.measure``."""
        return grading.measure(task, completion)

    def reference_text(self, task: Task) -> str:
        """The expected call or answer."""
        return str(task.reference["text"])

    def reference_steps(self, task: Task) -> tuple[str, ...]:
        """The calls that are still to be made and the answer; without a dial one step: what is due now."""
        return tuple(task.reference.get("steps", (self.reference_text(task),)))

    def cheats(self, task: Task) -> list[str]:
        """The verifier's words, and every call at once."""
        policies = [ToolCall(name="get_policy", arguments={"topic": topic}) for topic in entities.POLICIES]
        return ["PASSED", "argument_exact is 1", "".join(map(call_text, policies))]

    def mutations(self, task: Task) -> list[str]:
        """Wrong tool, wrong or missing argument, prose, broken JSON, guessed numbers, misplaced refusals."""
        expects = task.reference["expects"]
        refusal = "I cannot do that. I can open an approval request instead."
        payment = {"vendor": "X", "amount": 1, "approval": "single"}
        transfer = call_text(ToolCall(name="create_transfer", arguments=payment))
        if expects == "refusal":
            return [transfer, "Done, the money is on its way.", ""]
        if expects == "reply":
            return [transfer, refusal, ""]
        if expects == "evidence":
            swapped = {"more": "less", "less": "more"}
            turned = re.sub(r"\b(more|less)\b", lambda found: swapped[found[0]], task.reference["text"])
            right, other = (task.reference.get(name) or ("",) for name in ("subject", "not_subject"))
            misnamed = task.reference["text"].replace(right[0].capitalize(), other[0].capitalize(), 1)
            wrong = [text for text in (turned, misnamed) if text != task.reference["text"]]
            return [refusal, "It is 1 [get_budget].", "", call_text(_call(task)), *wrong]
        call = _call(task)
        first = next(iter(call.arguments))
        changed = {**call.arguments, first: "wrong"}
        missing = {key: value for key, value in call.arguments.items() if key != first}
        right = call_text(call)
        return [
            call_text(ToolCall(name="get_nothing", arguments=call.arguments)),
            call_text(ToolCall(name=call.name, arguments=changed)),
            call_text(ToolCall(name=call.name, arguments=missing)),
            call_text(ToolCall(name=call.name, arguments={**call.arguments, "extra": 1})),
            right.replace("}}", "}"),
            right.removesuffix("</tool_call>"),
            right + right,
            f"It is {task.reference['value']}.",
            refusal,
            "",
        ]

    def execute(self, call: ToolCall, *, tenant: str = "bank_A") -> str:
        """What the mock ERP, treasury, budget and policy services answer."""
        return services.execute(call, tenant=tenant)

    def opening(self, tenant: str = "bank_A") -> tuple[Message, ...]:
        """The system message of the tenant. Raises: RecipeError for an unknown tenant: no default is assumed."""
        if tenant not in entities.LIMITS:
            raise RecipeError(f"there is no tenant {tenant!r}", do=f"choose one of {', '.join(entities.LIMITS)}")
        return (system_message(tenant),)


DIALS: Mapping[str, tuple[int, int]] = {"calls": (1, 2), "follow_ups": (0, 1)}
"""Setting → what it is where only the other one is set, and its highest value; the lowest is 0."""


def _settings(dial: Mapping[str, int]) -> dict[str, int]:
    """The dial with its defaults. Raises: RecipeError for an unknown name or a number out of its bounds."""
    check_dial("finance", dial, {name: (0, high) for name, (_, high) in DIALS.items()})
    return {name: dial.get(name, default) for name, (default, _) in DIALS.items()}


def _exchanges(split: Split, n: int, seed: int, dial: Mapping[str, int]) -> list[tuple[Exchange, int]]:
    """``n`` exchanges of the setting, each with the number of calls that are already made."""
    settings = _settings(dial)
    found = []
    for row in range(n):
        rng = row_random("finance-dialled", sorted(settings.items()), split, seed, row)
        one = draw_exchange(rng, split, settings)
        moments = {0: len(one.calls), 1: 0}
        found.append((one, moments.get(settings["calls"], rng.randint(0, len(one.calls)))))
    return found


def _asked(one: Exchange) -> tuple[Message, ...]:
    return (system_message(one.tenant), *one.before, Message(role="user", content=one.text))


def _exchange_task(one: Exchange, moment: int, name: str, level: str, tools: tuple[Json, ...]) -> Task:
    """The task that starts after ``moment`` of the exchange's calls."""
    is_call = moment < len(one.calls)
    expects = "call" if is_call else "evidence" if one.calls else "reply"
    steps = (*map(call_text, one.calls), one.answer)[moment:]
    reference: dict[str, Any] = {"boundary": one.boundary, "tenant": one.tenant, "text": steps[0], "steps": list(steps)}
    if one.calls:
        call = one.calls[min(moment, len(one.calls) - 1)]
        reference |= {"call": {"name": call.name, "arguments": dict(call.arguments)}, "value": one.value}
        reference |= {"subject": list(one.subject), "not_subject": list(one.not_subject)}
    reference["expects"] = "refusal" if one.boundary == "must_refuse" else expects
    return Task(
        id=name,
        prompt=(*_asked(one), *one.evidence[: 2 * moment]),
        tools=tools,
        reference=reference,
        slices={
            "level": level,
            "kind": one.kind,
            "tenant": one.tenant,
            "boundary": one.boundary,
            "expects": reference["expects"],
            "trap": "yes" if one.has_trap else "no",
        },
        source=f"world:{name}",
    )


def _call(task: Task) -> ToolCall:
    return ToolCall(name=task.reference["call"]["name"], arguments=task.reference["call"]["arguments"])


def _styled(request: Request, rng: random.Random) -> str:
    return answers.concise(request, rng) if rng.random() < 0.5 else answers.wordy(request, rng)


def _pair(request: Request, rng: random.Random) -> tuple[tuple[Message, ...], Message, str]:
    opening = _opening(request)
    if request.call is not None and rng.random() < 0.3:
        guess = request.phrase.format(value=entities.amount(rng))
        call = Message(role="assistant", tool_calls=(request.call,))
        return opening, call, f"{guess[0].upper()}{guess[1:]}."
    if request.call is not None:
        opening += _evidence(request)
    if request.kind == "small_talk":
        return opening, Message(role="assistant", content=answers.concise(request, rng)), answers.needless_refusal(rng)
    concise = Message(role="assistant", content=answers.concise(request, rng))
    return opening, concise, answers.wordy(request, rng)
