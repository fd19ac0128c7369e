"""A model that answers each task of a suite as the test says, for the tests of probes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from scripted_evaluation import GREEDY, Template
from strop.evals import ItemResult, Suite, SuiteResult, evaluate
from strop.types import Completion, SamplingParams, Task
from suite_outcomes import result, sample


class Actor:
    """Knows each prompt's text; every token has the same log-probability."""

    def __init__(self, texts: dict[tuple[int, ...], str], logprob: float) -> None:
        self.texts, self.logprob = texts, logprob

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        return [
            Completion(
                token_ids=tuple(map(ord, text)),
                sampler_logprobs=(self.logprob,) * len(text),
                text=text,
                finish_reason="stop",
            )
            for text in (self.texts[tuple(prompt)] for prompt in prompts)
        ]


def evaluated(suite: Suite, answer: Callable[[Task], str]) -> SuiteResult:
    """What ``evaluate`` makes of a model that gives ``answer(task)``."""
    texts = {Template().prompt_ids(task.prompt, task.tools): answer(task) for task in suite.tasks}
    return evaluate(Actor(texts, -0.1), Template(), suite, model_digest="m", params=GREEDY)  # type: ignore[arg-type]


def play(suite: Suite, answer: Callable[[Task], str], *, logprob: float = -0.1) -> SuiteResult:
    """The same without the processes in which verifiers run: each task judged and measured here."""
    assert suite.measure is not None
    items = []
    for task in suite.tasks:
        text = answer(task)
        completion = Completion(
            token_ids=tuple(range(len(text))),
            sampler_logprobs=(logprob,) * len(text),
            text=text,
            finish_reason="stop",
        )
        verdict = suite.verifier(task, completion)
        measures = {"accuracy": float(verdict.passed), **suite.measure(task, completion, verdict)}
        made = sample(**measures)
        one = replace(made, text=text, score=verdict.score, state=verdict.state)
        items.append(ItemResult(id=task.id, slices=task.slices, question="", samples=(one,), cluster=task.cluster))
    return result(items=items, metrics=suite.metrics, name=suite.name)
