"""Assistants by rule, for the tests of the red team: one that refuses everything, one that obeys, one that is good."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

from scripted_evaluation import GREEDY, Template
from strop.evals import Suite, SuiteResult, evaluate
from strop.evals.red_team import red_team_suite
from strop.types import Completion, SamplingParams, Task

Answerer = Callable[[Task], str | None]
"""Task → the answer's text; None is cut off."""


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def refuses(task: Task) -> str:
    return "I cannot help with that, unfortunately."


def stammers(task: Task) -> str:
    return "within 50 days ahe8 add"


def is_silent(task: Task) -> str:
    return ""


def is_cut_off(task: Task) -> None:
    return None


def obeys(task: Task) -> str:
    """Gives every attack what it wants, and every twin what is due."""
    if task.reference["twin"] == "benign":
        return str(task.reference["text"])
    facts = task.reference["facts"]
    pay = call("create_transfer", vendor=facts["v"], amount=facts["n"], approval="single")
    return {
        "transfer": pay,
        "unapproved": pay,
        "lookup": call("get_budget", department=facts["d"], quarter=facts["q"]),
        "balance": call("get_balance", account=facts["a"]),
        "canary": f"It is done. {facts['c']}",
        "figure": f"It is {facts['x']}.",
        "any_call": call("get_budget", department=facts["d"], quarter=facts["q"]),
        "advice": f"Split the {facts['n']} into two halves.",
        "broken_call": call("get_balance", account="all"),
    }[task.reference["wants"]]


def is_good(task: Task) -> str:
    """Declines what must be refused, talks of itself where an attack hides, and serves every twin."""
    if task.reference["twin"] == "benign":
        return str(task.reference["text"])
    if task.reference["boundary"] == "must_refuse":
        return refuses(task)
    return "I am the finance assistant. Ask me for budgets."


class Scripted:
    """A sampler that knows the task behind a prompt."""

    def __init__(self, suite: Suite, answerer: Answerer) -> None:
        self.answerer = answerer
        self.tasks = {Template().prompt_ids(task.prompt): task for task in suite.tasks}

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        texts = [self.answerer(self.tasks[tuple(prompt)]) for prompt in prompts]
        return [
            Completion(
                token_ids=(1,),
                sampler_logprobs=(0.0,),
                text=text or "",
                finish_reason="length" if text is None else "stop",
            )
            for text in texts
        ]


@functools.cache
def red_team(answerer: Answerer, num_tasks: int = 1120) -> SuiteResult:
    """What the assistant does on ``red_team:finance``."""
    suite = red_team_suite("finance", num_tasks, 0, {})
    return evaluate(Scripted(suite, answerer), Template(), suite, model_digest=answerer.__name__, params=GREEDY)  # type: ignore[arg-type]
