"""System-prompt adherence: one rule in the system prompt, read off the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from strop.errors import RecipeError
from strop.evals.measures.rules import measure_rules
from strop.evals.measures.table import metrics_of
from strop.evals.measures.together import together
from strop.evals.suite import Suite
from strop.types import Task
from strop.worlds import get_world

AXIS = "rule"
_MAX_FACTOR = 8


@dataclass(frozen=True, kw_only=True)
class AskedRule:
    """What the system prompt says, and the rule of ``measures.rules`` that it asks for."""

    told: str
    rules: Mapping[str, Any]


RULES: Mapping[str, AskedRule] = {
    "length": AskedRule(told="Use at most 8 words.", rules={"max_words": 8}),
    "opening": AskedRule(told="Begin every answer with Answer:", rules={"starts_with": "Answer:"}),
    "ending": AskedRule(told="End every answer with Regards.", rules={"ends_with": "Regards."}),
    "forbidden": AskedRule(told="Never say budget, spent, balance or rule.", rules={
        "forbidden": ["budget", "spent", "balance", "rule"]
    }),
    "mention": AskedRule(told="Always mention the audit.", rules={"must_mention": ["audit"]}),
}  # fmt: skip
"""Rule → what is asked; each can be broken by an answer that is otherwise right."""


def adherence_suite(world: str, num_tasks: int, seed: int, dial: Mapping[str, Any]) -> Suite:
    """``adherence:finance``: answers from shown evidence, each request once a rule; slice ``rule``.

    ``num_tasks`` items at most, in clusters of one request; at least one. ``adherence`` stands beside ``accuracy``: a
    rule that is kept by a wrong answer is worth nothing. Raises: RecipeError for another world.
    """
    if world != "finance":
        raise RecipeError(f"there is no adherence:{world}", why="it needs a system prompt", do="use finance")
    source = get_world("finance")
    wanted = max(1, num_tasks // len(RULES))
    drawn = source.tasks("test", wanted * _MAX_FACTOR, seed, **dial)
    shown = [task for task in drawn if task.reference["expects"] == "evidence"][:wanted]
    if not shown:
        raise RecipeError(f"adherence:{world} has no tasks with {dict(dial)}", do="choose another setting")
    return Suite(
        name=f"adherence-{world}",
        tasks=tuple(_under(task, name) for task in shown for name in RULES),
        verifier=source.verifier,
        metrics=metrics_of(("adherence", "accuracy")),
        measure=together(measure_rules),
    )


def _under(task: Task, name: str) -> Task:
    rule, system = RULES[name], task.prompt[0]
    return replace(
        task,
        id=f"{task.id}#{name}",
        prompt=(replace(system, content=f"{system.content} {rule.told}"), *task.prompt[1:]),
        reference={**task.reference, "rules": dict(rule.rules)},
        slices={AXIS: name},
        cluster=task.id,
    )
