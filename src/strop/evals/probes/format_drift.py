"""Format drift: does the same request still get a valid call when much was said before it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from strop.errors import PromptError, RecipeError
from strop.evals.measures.table import metrics_of
from strop.evals.measures.together import only, together
from strop.evals.metrics import mean
from strop.evals.suite import Suite
from strop.types import Completion, Message, Sampler, SamplingParams, Task
from strop.worlds import FinanceWorld, get_world
from strop.worlds.dials import check_dial
from strop.worlds.finance import answers
from strop.worlds.finance.requests import Request, draw
from strop.worlds.finance.world import call_text, system_message
from strop.worlds.splits import row_random

if TYPE_CHECKING:
    from strop.chat import ChatTemplate
    from strop.evals.results import SuiteResult
    from strop.statistics import Interval

AXIS = "depth"
DEPTHS = (0, 2, 4, 8)
"""Earlier turns of small talk: half of them the user's, half good answers to them."""
TOOL_DEPTHS = (0, 4, 8, 12)
"""Earlier turns where each request was answered with a tool: request, call, result, answer."""
_SETTING = "tool_history"
_METRICS = ("schema_valid", "argument_exact", "tool_recall")
_KINDS = ("spending", "budget", "balance", "policy")
_MAX_FACTOR = 8


# ------------------------------------------------------------------------------------------------------------ the suite


def format_drift_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any]) -> Suite:
    """``format_drift:finance``: requests that need a call, each after 0, 2, 4 and 8 earlier turns.

    The earlier turns are good and in words only, so that nothing shows the format once more; with the setting
    ``tool_history = 1`` they are requests, calls, results and answers, at 0, 4, 8 and 12 turns. ``num_tasks`` items at
    most, in clusters of one request, at least one; slice ``depth``. ``drift_of`` reads the slope off the results.
    Raises: RecipeError for another world or setting.
    """
    if world != "finance":
        raise RecipeError(f"there is no format_drift:{world}", why="it needs tools and small talk", do="use finance")
    check_dial("finance", {_SETTING: dial.get(_SETTING, 0)}, {_SETTING: (0, 1)})
    with_tools, dial = bool(dial.get(_SETTING)), {name: value for name, value in dial.items() if name != _SETTING}
    depths = TOOL_DEPTHS if with_tools else DEPTHS
    source = get_world("finance")
    wanted = max(1, num_tasks // len(depths))
    drawn = source.tasks("test", wanted * _MAX_FACTOR, seed, **dial)
    requests = [task for task in drawn if task.reference["expects"] == "call" and task.slices["kind"] in _KINDS]
    tasks = [_after(task, depth, seed, with_tools=with_tools) for task in requests[:wanted] for depth in depths]
    if not tasks:
        raise RecipeError(f"format_drift:{world} has no tasks with {dict(dial)}", do="choose another setting")
    return Suite(
        name=f"format_drift-{world}" + ("-tools" if with_tools else ""),
        tasks=tuple(tasks),
        verifier=source.verifier,
        metrics=metrics_of((*_METRICS, "accuracy")),
        measure=together(only(source.measure, *_METRICS)),
    )


def _after(task: Task, depth: int, seed: int, *, with_tools: bool) -> Task:
    """The request after ``depth`` turns; a longer history begins like a shorter one."""
    rng = row_random("format_drift", seed, task.id)
    history: list[Message] = []
    while len(history) < depth:
        kind = rng.choice(_KINDS) if with_tools else "small_talk"
        request = draw(rng, "test", kind, task.reference["tenant"])
        history.append(Message(role="user", content=request.text))
        if request.call is not None:
            history.append(Message(role="assistant", tool_calls=(request.call,)))
            history.append(Message(role="tool", name=request.call.name, content=request.result))
        history.append(Message(role="assistant", content=answers.concise(request, rng)))
    return replace(
        task,
        id=f"{task.id}#{depth}",
        prompt=(task.prompt[0], *history, *task.prompt[1:]),
        slices={AXIS: str(depth), "kind": task.slices["kind"]},
        cluster=task.id,
    )


# ------------------------------------------------------------------------------------------------------------ the slope


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How a metric changes with the number of turns before."""

    metric: str
    by_depth: Mapping[int, float]
    """Depth → the metric's mean."""
    slope: float
    """Change a turn (a request in a ``LongRun``), the mean of the conversations' own least-squares slopes; negative: it
    is lost."""
    interval: Interval | None
    """95 %, over conversations; None where fewer than two, or no two that differ, leave the spread unknown."""
    num_conversations: int


def drift(points: Sequence[tuple[str, int, float]], metric: str = "schema_valid") -> Drift | None:
    """The slope of (conversation, depth, value) points; None where no conversation has two depths.

    Within each conversation b_c = Σ (d - d̄)(y - ȳ) / Σ (d - d̄)², then the mean of the b_c: what differs between
    conversations cannot pass for drift. *Source*: Burstein, Kim and Delandshere 1988 (slopes as outcomes).
    """
    from strop.statistics import mean_interval

    rows: dict[str, list[tuple[int, float]]] = {}
    for conversation, depth, value in points:
        rows.setdefault(conversation, []).append((depth, value))
    slopes = [slope for one in rows.values() if (slope := _slope(one)) is not None]
    average = mean(slopes)
    if average is None:
        return None
    depths = sorted({depth for _, depth, _ in points})
    return Drift(
        metric=metric,
        by_depth={at: mean([value for _, depth, value in points if depth == at]) or 0.0 for at in depths},
        slope=average,
        interval=mean_interval(slopes) if len(set(slopes)) > 1 else None,
        num_conversations=len(slopes),
    )


def _slope(points: Sequence[tuple[int, float]]) -> float | None:
    centre = sum(depth for depth, _ in points) / len(points)
    spread = sum((depth - centre) ** 2 for depth, _ in points)
    return sum((depth - centre) * value for depth, value in points) / spread if spread else None


def drift_of(result: SuiteResult, metric: str = "schema_valid") -> Drift | None:
    """The metric's slope over the slice ``depth``; what could not be judged is left out. None without two depths."""
    points = [
        (item.cluster, int(item.slices[AXIS]), value)
        for item in result.items
        if item.slices.get(AXIS, "").isdecimal() and (value := item.value(metric)) is not None
    ]
    return drift(points, metric)


# ------------------------------------------------------------------------------------------------- with its own answers


@dataclass(frozen=True, kw_only=True)
class DriftTurn:
    """One request of a long conversation, and what became of its call."""

    conversation: str
    request: int
    """Which of the conversation's requests, from 0."""
    depth: int
    """Turns before it, the assistant's own among them: fewer where a call failed, as no result follows it."""
    values: Mapping[str, float | None]
    """``schema_valid``, ``argument_exact`` ..., as ``FinanceWorld`` measures them."""


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """Conversations in which the assistant's own answers, good or bad, are what it reads next."""

    turns: tuple[DriftTurn, ...]
    num_full: int
    """Conversations that outgrew the context before all was asked."""

    def drift(self, metric: str = "schema_valid") -> Drift | None:
        """The metric's slope a request; None where no conversation has two.

        Over requests and not over turns: how many turns there are depends on what is measured, as failed calls are
        shorter, and whoever stands at an odd depth has failed before.
        """
        found = [(one.conversation, one.request, one.values.get(metric)) for one in self.turns]
        return drift([(name, request, value) for name, request, value in found if value is not None], metric)


def long_run(
    sampler: Sampler,
    template: ChatTemplate,
    *,
    num_conversations: int,
    num_requests: int = 6,
    seed: int = 0,
    params: SamplingParams | None = None,
) -> LongRun:
    """``num_requests`` requests of the finance world one after the other, each answered by the model with its tools.

    Nothing is put right on the way: a broken call stays in the history. A conversation that no longer fits the context
    ends there and is counted.
    """
    from strop.rollouts import converse  # samples with torch
    from strop.sampling import row_seed

    world, turns, num_full = FinanceWorld(), list[DriftTurn](), 0
    for number in range(num_conversations):
        rng = row_random("long_run", seed, number)
        tenant = rng.choice(("bank_A", "retail_B", "saas_C"))
        dialogue = [system_message(tenant)]
        for place in range(num_requests):
            request = draw(rng, "test", rng.choice(_KINDS), tenant)
            depth = len(dialogue) - 1
            dialogue.append(Message(role="user", content=request.text))
            try:
                new = converse(
                    sampler,
                    template,
                    dialogue,
                    world.tools,
                    lambda call: world.execute(call, tenant=tenant),  # noqa: B023 called at once
                    max_turns=2,
                    params=replace(params or SamplingParams(temperature=0.0), seed=row_seed(seed, number)),
                )
            except PromptError:
                num_full += 1
                break
            values = _judged(world, request, new[0])
            turns.append(DriftTurn(conversation=str(number), request=place, depth=depth, values=values))
            dialogue += new
    return LongRun(turns=tuple(turns), num_full=num_full)


def _judged(world: FinanceWorld, request: Request, answer: Message) -> Mapping[str, float | None]:
    assert request.call is not None
    text = answer.content + "".join(map(call_text, answer.tool_calls))
    asked = Task(
        id="request",
        prompt=(Message(role="user", content=request.text),),
        tools=world.tools,
        reference={
            "expects": "call",
            "boundary": request.boundary,
            "tenant": request.tenant,
            "call": {"name": request.call.name, "arguments": dict(request.call.arguments)},
        },
    )
    completion = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")
    values = world.measure(asked, completion, world.verifier(asked, completion))
    return {name: values[name] for name in _METRICS}
