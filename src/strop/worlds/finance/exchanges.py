"""Requests by how many calls they take: none any more, one, or two with a comparison; each alone or as a follow-up."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from strop.types import Message, ToolCall
from strop.worlds.finance import answers, entities
from strop.worlds.finance.requests import KINDS, WEIGHTS, Boundary, Request
from strop.worlds.finance.services import execute
from strop.worlds.splits import Split, split_of


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request with all the calls that answer it, and what the answer must say."""

    kind: str
    tenant: str
    boundary: Boundary
    keys: tuple[str, ...]
    before: tuple[Message, ...]
    text: str
    calls: tuple[ToolCall, ...]
    answer: str
    value: str = ""
    """The fact that a grounded answer states."""
    subject: tuple[str, ...] = ()
    """What else it must name."""
    not_subject: tuple[str, ...] = ()
    """What it must not name."""
    has_trap: bool = False

    @property
    def evidence(self) -> tuple[Message, ...]:
        """The calls with what the tools said."""
        turns = []
        for call in self.calls:
            said = execute(call, tenant=self.tenant)
            turns += [Message(role="assistant", tool_calls=(call,)), Message(role="tool", name=call.name, content=said)]
        return tuple(turns)


def of_request(request: Request, rng: random.Random) -> Exchange:
    """A request of ``KINDS``."""
    return Exchange(
        kind=request.kind,
        tenant=request.tenant,
        boundary=request.boundary,
        keys=request.keys,
        before=request.before,
        text=request.text,
        calls=() if request.call is None else (request.call,),
        answer=answers.concise(request, rng),
        value="" if request.call is None else request.value,
        has_trap=request.has_trap,
    )


def _spent(call: ToolCall, tenant: str) -> str:
    """``4821``: the spending that the call brings."""
    return Request(kind="", tenant=tenant, keys=(), text="", boundary="answerable", call=call, phrase="{value}").value


def _query(department: str, region: str, quarter: str) -> tuple[ToolCall, str]:
    arguments = {"department": department, "region": region, "quarter": quarter}
    return ToolCall(name="query_erp", arguments=arguments), f"query_erp/{department}/{region}/{quarter}"


def compare(rng: random.Random, tenant: str) -> Exchange | None:
    """Which of two departments spent more: two calls, then the larger with its name; None where they are equal."""
    names = rng.sample(entities.DEPARTMENTS, 2)
    region, quarter = rng.choice(entities.REGIONS), rng.choice(entities.QUARTERS)
    calls, keys = zip(*(_query(name, region, quarter) for name in names), strict=True)
    spent = [int(_spent(call, tenant)) for call in calls]
    if spent[0] == spent[1]:
        return None
    more = names[spent[1] > spent[0]]
    asked = rng.choice(
        (
            "Look up {a}, then {b}: which spent more in {r} in {q}?",
            "Spending of {a}, then of {b} in {r} in {q}: which is more?",
        )
    )
    return Exchange(
        kind="compare",
        tenant=tenant,
        boundary="answerable",
        keys=keys,
        before=(),
        text=asked.format(a=names[0], b=names[1], r=region, q=quarter),
        calls=calls,
        answer=f"{more.capitalize()} spent more: {max(spent)} [query_erp].",
        value=str(max(spent)),
        subject=(more, "more"),
        not_subject=(next(name for name in names if name != more), "less"),
    )


def versus(rng: random.Random, tenant: str) -> Exchange | None:
    """Whether another department spent more than the one just asked about: a call, and a look back."""
    request = KINDS["follow_up"](rng, tenant)
    first = request.before[1].tool_calls[0]
    assert request.call is not None
    was, now = int(_spent(first, tenant)), int(request.value)
    if was == now:
        return None
    words = ("more", "less") if now > was else ("less", "more")
    department = request.call.arguments["department"]
    asked = rng.choice(("Did {d} spend more or less?", "And {d}: more or less than that?")).format(d=department)
    return Exchange(
        kind="versus",
        tenant=tenant,
        boundary="answerable",
        keys=request.keys,
        before=request.before,
        text=asked,
        calls=(request.call,),
        answer=f"{department.capitalize()} spent {words[0]}: {now} [query_erp].",
        value=str(now),
        subject=(words[0],),
        not_subject=(words[1],),
    )


def draw_exchange(rng: random.Random, split: Split, settings: Mapping[str, int]) -> Exchange:
    """An exchange of the settings whose combinations belong to ``split``.

    With up to one call, all kinds but ``follow_up`` in the proportions of ``WEIGHTS``, or only ``follow_up``; with
    two, comparisons of two departments, or of one with that of the turn before.
    """
    is_later = bool(settings["follow_ups"])
    weights = {kind: weight for kind, weight in WEIGHTS.items() if (kind == "follow_up") is is_later}
    while True:
        tenant = rng.choice(tuple(entities.LIMITS))
        if settings["calls"] == 2:
            found = versus(rng, tenant) if is_later else compare(rng, tenant)
        else:
            kind = rng.choices(list(weights), weights=list(weights.values()))[0]
            found = of_request(KINDS[kind](rng, tenant), rng)
        if found is not None and all(split_of(key) == split for key in found.keys):
            return found
