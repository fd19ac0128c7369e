"""The difficulty dial moves the embedded base from nearly always right to nearly always wrong, on every world."""

import pytest

from strop.models import Policy
from strop.rollouts import roll_out
from strop.sampling import TorchSampler
from strop.types import SamplingParams
from strop.worlds import get_world, world_names


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load("strop:tiny")


@pytest.mark.slow
@pytest.mark.parametrize("name", world_names())
def test_the_base_passes_an_easy_level_and_fails_the_hardest_ones(policy: Policy, name: str) -> None:
    world, params = get_world(name), SamplingParams(max_new_tokens=96, temperature=0.0)

    def pass_rate(level: int) -> float:
        tasks = world.tasks("test", 100, 7, **world.levels[level])
        found = roll_out(TorchSampler(policy), policy.template, tasks, world.verifier, params, seed=0)
        return sum(rollout.verdict.passed for rollout in found) / len(found)

    assert max(pass_rate(level) for level in (0, 1)) > 0.88, "over 90 % on 600 tasks, by the card"
    assert min(pass_rate(level) for level in range(len(world.levels) // 2, len(world.levels))) < 0.12
