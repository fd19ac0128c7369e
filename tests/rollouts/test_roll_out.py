"""Rolling tasks out: order, seeds, verdicts and who is named when something fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strop.errors import PromptError, VerifierError
from strop.methods.rl import GroupRollouts
from strop.models import Policy
from strop.rollouts import roll_out
from strop.sampling import TorchSampler, row_seed
from strop.types import Completion, Message, SamplingParams, Task, Verdict

PARAMS = SamplingParams(max_new_tokens=4)


class EchoSampler:
    """Answers with the prompt's length and the seed, and remembers what it was asked."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        self.seeds.extend(seeds)
        return [
            Completion(
                token_ids=(len(prompt), 2),
                sampler_logprobs=(-1.0, -0.5),
                text=f"{len(prompt)} {seed}",
                finish_reason="stop",
            )
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]


class Grader:
    """Gives each task the verdict of its reference."""

    name = "grader"
    digest = "0"

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        verdict = task.reference["verdict"]
        if isinstance(verdict, Exception):
            raise verdict
        assert isinstance(verdict, Verdict)
        return verdict


PASSED = Verdict(score=1.0, passed=True)
TEMPLATE: Any = SimpleNamespace(prompt_ids=lambda messages, tools: tuple(range(len(messages[0].content))))


def make_task(number: int, verdict: object = PASSED) -> Task:
    return Task(
        id=f"t{number}",
        prompt=(Message(role="user", content="x" * (number + 1)),),
        reference={"verdict": verdict},
        source=f"tasks.jsonl:{number}",
    )


class Demanding(Grader):
    """Needs what is not there."""

    def require_ready(self, tasks: Sequence[Task]) -> None:
        raise VerifierError(f"no checker for {tasks[0].id}")


def test_a_verifier_that_cannot_judge_here_is_told_before_anything_is_sampled() -> None:
    sampler = EchoSampler()
    with pytest.raises(VerifierError, match="no checker for t0"):
        roll_out(sampler, TEMPLATE, [make_task(0)], Demanding(), PARAMS, seed=0)
    stream = GroupRollouts(
        tasks=(make_task(0),),
        verifier=Demanding(),
        params=PARAMS,
        group_size=2,
        prompts_per_step=1,
        scale=None,
        audit="",
    )
    policy: Any = SimpleNamespace()  # nothing is asked of it
    with pytest.raises(VerifierError, match="no checker for t0"):
        next(stream(policy))
    assert sampler.seeds == []


def test_rollouts_come_task_by_task_with_their_own_prompt() -> None:
    tasks = [make_task(0), make_task(1)]
    rollouts = roll_out(EchoSampler(), TEMPLATE, tasks, Grader(), PARAMS, samples_per_task=3, seed=0)
    assert [rollout.task.id for rollout in rollouts] == ["t0"] * 3 + ["t1"] * 3
    assert [rollout.prompt_ids for rollout in rollouts] == [(0,)] * 3 + [(0, 1)] * 3
    assert [rollout.completion.text.split()[0] for rollout in rollouts] == ["1"] * 3 + ["2"] * 3


def test_the_seed_of_a_row_follows_from_run_task_and_sample() -> None:
    small, large = EchoSampler(), EchoSampler()
    roll_out(small, TEMPLATE, [make_task(0), make_task(1)], Grader(), PARAMS, samples_per_task=2, seed=7)
    roll_out(large, TEMPLATE, [make_task(i) for i in range(3)], Grader(), PARAMS, samples_per_task=4, seed=7)
    assert small.seeds == [row_seed(7, i, j) for i in range(2) for j in range(2)]
    assert set(small.seeds) <= set(large.seeds)


def test_verdict_states_are_kept_as_they_are() -> None:
    verdicts = [
        PASSED,
        Verdict(score=0.0, passed=False, state="unparsable"),
        Verdict(score=None, passed=False, state="timeout"),
    ]
    tasks = [make_task(i, verdict) for i, verdict in enumerate(verdicts)]
    rollouts = roll_out(EchoSampler(), TEMPLATE, tasks, Grader(), PARAMS, seed=0)
    assert [rollout.verdict for rollout in rollouts] == verdicts


def test_an_error_of_a_users_verifier_is_not_swallowed() -> None:
    tasks = [make_task(0, VerifierError("my_rewards.py:score raised KeyError"))]
    with pytest.raises(VerifierError, match="KeyError"):
        roll_out(EchoSampler(), TEMPLATE, tasks, Grader(), PARAMS, seed=0)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused_with_its_task(score: float) -> None:
    tasks = [make_task(0), make_task(1, Verdict(score=score, passed=False))]
    with pytest.raises(VerifierError, match="t1"):
        roll_out(EchoSampler(), TEMPLATE, tasks, Grader(), PARAMS, seed=0)


def test_progress_reaches_the_number_of_rows() -> None:
    calls: list[tuple[str, float, float, float]] = []

    def progress(label: str, done: float, total: float, metrics: Any) -> None:
        calls.append((label, done, total, metrics["pass_rate"]))

    tasks = [make_task(0), make_task(1, Verdict(score=0.0, passed=False))]
    roll_out(EchoSampler(), TEMPLATE, tasks, Grader(), PARAMS, samples_per_task=2, seed=0, progress=progress)
    assert calls == [("rollouts", 4, 4, 0.5)]


def test_a_prompt_that_does_not_fit_is_named_by_its_task(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    tasks = [make_task(3), make_task(2000)]
    with pytest.raises(PromptError, match=r"task t2000 \(tasks.jsonl:2000\)"):
        roll_out(TorchSampler(policy), policy.template, tasks, Grader(), PARAMS, samples_per_task=2, seed=0)


def test_the_same_seed_repeats_the_same_rollouts(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")

    def texts(seed: int) -> list[str]:
        tasks = [make_task(3), make_task(5)]
        rollouts = roll_out(
            TorchSampler(policy), policy.template, tasks, Grader(), PARAMS, samples_per_task=2, seed=seed
        )
        return [rollout.completion.text for rollout in rollouts]

    assert texts(1) == texts(1) != texts(2)
