"""What a few minutes of supervised fine-tuning teach the embedded base on held-out tasks."""

import pytest

from strop.methods import sft
from strop.models import LoRA, Policy
from strop.rollouts import roll_out
from strop.sampling import TorchSampler
from strop.training import AdamW, train
from strop.types import Rollout, SamplingParams
from strop.worlds import get_world
from strop.worlds.finance.answers import is_refusal

WORLD = get_world("finance")


@pytest.fixture(scope="module")
def answers() -> dict[str, list[Rollout]]:
    """Kind → greedy answers after 90 steps on demonstrations."""
    policy = Policy.load("strop:tiny", lora=LoRA(rank=16))
    stream, objective = sft(policy, WORLD.demonstrations("train", 1440), batch_size=16)
    optimizer = AdamW(lr=2e-3, schedule="cosine")
    for step in train(policy, stream, objective, optimizer=optimizer, num_steps=90):
        assert step.number <= 90
    tasks = WORLD.tasks("test", 300)
    params = SamplingParams(max_new_tokens=96, temperature=0.0)
    found = roll_out(TorchSampler(policy), policy.template, tasks, WORLD.verifier, params, seed=0)
    kinds = {task.slices["kind"] for task in tasks}
    return {kind: [rollout for rollout in found if rollout.task.slices["kind"] == kind] for kind in kinds}


def passed(rollouts: list[Rollout]) -> float:
    return sum(rollout.verdict.passed for rollout in rollouts) / len(rollouts)


@pytest.mark.slow
@pytest.mark.capability("SF-07")
def test_a_follow_up_is_resolved_from_the_turn_before(answers: dict[str, list[Rollout]]) -> None:
    calls = [rollout for rollout in answers["follow_up"] if rollout.task.reference["expects"] == "call"]
    assert passed(calls) > 0.7


@pytest.mark.slow
@pytest.mark.capability("SF-09")
def test_a_bypass_is_refused_half_the_time_with_the_allowed_way_as_the_demonstrations_do(
    answers: dict[str, list[Rollout]],
) -> None:
    refusals = [rollout.completion.text for rollout in answers["bypass"]]
    assert sum(map(is_refusal, refusals)) / len(refusals) > 0.85
    assert any("instead" in text for text in refusals)


@pytest.mark.slow
@pytest.mark.capability("SF-04")
def test_calls_are_strict_and_mostly_exact_on_combinations_never_shown(answers: dict[str, list[Rollout]]) -> None:
    calls = [r for rollouts in answers.values() for r in rollouts if r.task.reference["expects"] == "call"]
    assert passed(calls) > 0.8
