"""A real model behind a real server: the same completions as here, rollouts as from any sampler, and the gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strop.models import Policy
from strop.rollouts import roll_out
from strop.sampling import TorchSampler
from strop.sampling.gap import calibrate
from strop.types import Completion, Message, SamplingParams, Task, Verdict


@pytest.fixture(scope="module")
def policy(chat_folder: Path) -> Policy:
    return Policy.load(chat_folder, device="cpu", dtype="float32")


def make_tasks(number: int) -> list[Task]:
    return [Task(id=f"t{i}", prompt=(Message(role="user", content=f"Compute {i} + 1"),)) for i in range(number)]


class ShortIsGood:
    name = "short is good"
    digest = "short is good"

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return Verdict(score=1.0 / len(completion.token_ids), passed=completion.finish_reason == "stop")


@pytest.mark.capability("RL-01")
@pytest.mark.parametrize("stream", [False, True])
def test_greedy_completions_are_the_embedded_samplers(model_server: Any, policy: Policy, stream: bool) -> None:
    sampler = model_server.sampler(template=policy.template, stream=stream)
    prompts = [policy.template.prompt_ids(task.prompt) for task in make_tasks(4)]
    params = SamplingParams(max_new_tokens=10, temperature=0.0)
    remote = sampler.sample(prompts, params, seeds=[0] * 4)
    local = TorchSampler(policy).sample(prompts, params, seeds=[0] * 4)
    for mine, theirs in zip(local, remote, strict=True):
        assert (mine.token_ids, mine.text, mine.finish_reason) == (theirs.token_ids, theirs.text, theirs.finish_reason)
        assert mine.sampler_logprobs == pytest.approx(theirs.sampler_logprobs, abs=1e-4)


def test_a_server_rolls_tasks_out_as_any_sampler_does(model_server: Any, policy: Policy) -> None:
    sampler = model_server.sampler(template=policy.template)
    params = SamplingParams(max_new_tokens=6)

    def rolled(num_tasks: int) -> list[Any]:
        return roll_out(
            sampler, policy.template, make_tasks(num_tasks), ShortIsGood(), params, samples_per_task=3, seed=5
        )

    rollouts = rolled(3)
    assert [rollout.task.id for rollout in rollouts] == [f"t{i}" for i in range(3) for _ in range(3)]
    assert len({rollout.completion.token_ids for rollout in rollouts}) > 4
    assert [r.completion for r in rolled(2)] == [r.completion for r in rollouts[:6]]


@pytest.mark.parametrize(
    "params", [SamplingParams(max_new_tokens=8), SamplingParams(max_new_tokens=8, temperature=0.7)]
)
def test_a_server_with_the_same_weights_calibrates_to_rounding(
    model_server: Any, policy: Policy, params: SamplingParams
) -> None:
    sampler = model_server.sampler(template=policy.template)
    found = calibrate(policy, sampler, make_tasks(3), params=params, samples_per_task=2).require()
    assert found.gap.num_tokens > 20
    assert found.gap.max < 1e-4
