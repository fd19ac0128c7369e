"""A good but imperfect assistant by rule, behind the real template: it fails on some items, more on the hard ones.

Everything else is real: ``evaluate``, the suites, their verifiers and measures. What was judged or rendered once is
remembered, so that hundreds of candidates take minutes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripted_red_team import is_good, obeys
from strop.chat import ChatTemplate
from strop.digests import digest_json
from strop.evals import Suite, SuiteResult, evaluate
from strop.evals.suite import Measure, measure_identity
from strop.types import Completion, Json, Message, SamplingParams, Task, Verdict, Verifier
from strop.worlds import FinanceWorld, TreasuryWorld
from strop.worlds.splits import row_random

PARAMS = SamplingParams(temperature=1.0)
HARD_SHARE, HARD_WRONG, USUAL_WRONG, CHATTY = 0.1, 0.7, 0.02, 0.1
Answer = Callable[[Task, random.Random], str | None]
"""What a fault makes of a task's answer; None leaves it as it is."""


def good(task: Task) -> str:
    """The reference; of the red team's attacks what resists them."""
    return is_good(task) if "twin" in task.reference else str(task.reference["text"])


def bad(task: Task, rng: random.Random) -> str:
    """One of the world's own mistakes; the red team's attacks get what they want, its twins nothing."""
    if "twin" in task.reference:
        return obeys(task) if task.reference["twin"] == "attack" else "Let me think about it."
    world = TreasuryWorld() if "head" in task.reference else FinanceWorld()
    return rng.choice([text for text in world.mutations(task) if text.strip()])


def answer_of(task: Task, run: str, fault: Answer | None) -> str:
    """What the assistant says in this run: the draws of a run are its own, which items are hard is not."""
    rng = row_random("planted", run, task.id)
    is_hard = row_random("planted-hard", task.id).random() < HARD_SHARE
    draw, chat = rng.random(), rng.random()
    text = bad(task, rng) if draw < (HARD_WRONG if is_hard else USUAL_WRONG) else good(task)
    if chat < CHATTY and "<tool_call>" not in text and "head" not in task.reference:
        text = f"Of course. {text}"
    changed = fault(task, row_random("planted-fault", run, task.id)) if fault is not None else None
    return text if changed is None else changed


class Assistant:
    """A sampler that knows the task behind each prompt's ids."""

    def __init__(self, template: RememberedTemplate, suite: Suite, run: str, fault: Answer | None = None) -> None:
        self.template, self.run, self.fault = template, run, fault
        self.tasks = {template.prompt_ids(task.prompt, task.tools): task for task in suite.tasks}

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        found = []
        for prompt in prompts:
            task = self.tasks[tuple(prompt)]
            text = answer_of(task, self.run, self.fault)
            ids = self.template.ids_of(text)
            sure = row_random("planted-sure", task.id, text).uniform(-0.3, -0.01)
            found.append(
                Completion(token_ids=ids, sampler_logprobs=(sure,) * len(ids), text=text, finish_reason="stop")
            )
        return found


# --------------------------------------------------------------------------------------------------------- remembering


class RememberedTemplate:
    """The real template; what it rendered is kept."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._rendered: dict[tuple[int, int], tuple[Any, tuple[int, ...]]] = {}
        self._texts: dict[str, tuple[int, ...]] = {}
        self.digest, self.lock = template.digest, template.lock

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Json] = ()) -> tuple[int, ...]:
        key = (id(messages), id(tools))
        if key not in self._rendered:
            self._rendered[key] = ((messages, tools), tuple(self._template.prompt_ids(messages, tools)))
        return self._rendered[key][1]

    def ids_of(self, text: str) -> tuple[int, ...]:
        if text not in self._texts:
            self._texts[text] = tuple(self._template.tokenizer.encode(text, add_special_tokens=False))
        return self._texts[text]


@dataclass(frozen=True)
class RememberedVerifier:
    """The real verifier; what it judged is kept. It has the verifier's identity."""

    verifier: Verifier
    known: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return self.verifier.digest

    @property
    def name(self) -> str:
        return self.verifier.name

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        key = (task.id, completion.text)
        if key not in self.known:
            self.known[key] = self.verifier(task, completion)
        return self.known[key]

    def judge_many(self, pairs: Sequence[tuple[Task, Completion]]) -> list[Verdict]:
        return [self(task, completion) for task, completion in pairs]


@dataclass(frozen=True)
class RememberedMeasure:
    """The same of a measure."""

    measure: Measure
    known: dict[tuple[str, str], Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return digest_json(["remembered", measure_identity(self.measure)])

    def __call__(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        key = (task.id, completion.text)
        if key not in self.known:
            self.known[key] = self.measure(task, completion, verdict)
        return self.known[key]


def remembered(suite: Suite) -> Suite:
    """The suite with both."""
    measure = None if suite.measure is None else RememberedMeasure(suite.measure)
    return Suite(**{**vars(suite), "verifier": RememberedVerifier(suite.verifier), "measure": measure})


# ----------------------------------------------------------------------------------------------------------- candidates


@dataclass
class Lab:
    """Suites, and results of runs of the assistant on them."""

    template: RememberedTemplate
    suites: tuple[Suite, ...]
    runs: dict[tuple[str, str], SuiteResult] = field(default_factory=dict)

    def result(self, suite: Suite, run: str, fault: Answer | None = None) -> SuiteResult:
        """What ``evaluate`` finds of the run; without a fault it is found once."""
        if fault is None and (suite.name, run) in self.runs:
            return self.runs[suite.name, run]
        assistant = Assistant(self.template, suite, run, fault)
        found = evaluate(
            assistant,
            self.template,  # type: ignore[arg-type]
            suite,
            model_digest=digest_json([run]),
            params=PARAMS,
            num_requests=10_000,
        )
        if fault is None:
            self.runs[suite.name, run] = found
        return found

    def run(self, run: str, fault: Answer | None = None) -> dict[str, SuiteResult]:
        """Suite → result of a candidate; suites of which the fault changes no answer are not asked again."""
        found = {}
        for suite in self.suites:
            touched = fault is not None and any(
                fault(task, row_random("planted-fault", run, task.id)) is not None for task in suite.tasks
            )
            found[suite.name] = self.result(suite, run, fault if touched else None)
        return found

    def forget(self, run: str) -> None:
        """Drop a run's results."""
        self.runs = {key: value for key, value in self.runs.items() if key[1] != run}
