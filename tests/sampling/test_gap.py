"""The gap between sampler and trainer: hand numbers, planted mismatches that are found and named, calibration."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from strop.batches import collate
from strop.errors import GapError, RecipeError
from strop.models import Policy
from strop.sampling import TorchSampler
from strop.sampling.gap import MAX_GAP, GapMonitor, calibrate, diagnose, measure_gap, threshold
from strop.types import Batch, Completion, Message, Outputs, Sample, SamplingParams, Task

PARAMS = SamplingParams(max_new_tokens=24)


@pytest.fixture(scope="module")
def policy(chat_folder: Path) -> Policy:
    return Policy.load(chat_folder, device="cpu", dtype="float32")


def make_tasks(number: int = 4) -> list[Task]:
    return [Task(id=f"t{i}", prompt=(Message(role="user", content=f"Compute {i} + 1"),)) for i in range(number)]


class Changed:
    """The embedded sampler with other parameters than it is asked for, or with its log-probabilities changed."""

    def __init__(self, policy: Policy, *, shift: int = 0, **settings: Any) -> None:
        self.sampler = TorchSampler(policy)
        self.settings = settings
        self.shift = shift

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        found = self.sampler.sample(prompts, replace(params, **self.settings), seeds=seeds)
        return [replace(one, sampler_logprobs=rolled(one.sampler_logprobs, self.shift)) for one in found]


def rolled(values: tuple[float, ...], places: int) -> tuple[float, ...]:
    return values[-places:] + values[:-places] if places else values


class Fixed:
    """A policy whose log-probabilities are given."""

    dtype = torch.float32

    def __init__(self, logprobs: Sequence[float]) -> None:
        self.logprobs = torch.tensor(logprobs)

    def forward(self, batch: Batch, needs: object = None, *, temperature: float = 1.0) -> Outputs:
        return Outputs(logprobs=self.logprobs[: batch.num_tokens] / temperature)


def batch_of(*rows: Sequence[float], groups: Sequence[int] | None = None) -> Batch:
    """Rows of one prompt token and the trained tokens whose sampler log-probabilities are given."""
    samples = [
        Sample(
            name=f"r{i}",
            token_ids=(1,) * (len(row) + 1),
            loss_mask=(False, *(True for _ in row)),
            streams={"sampler_logprobs": (0.0, *row)},
            facts={} if groups is None else {"group_ids": groups[i]},
        )
        for i, row in enumerate(rows)
    ]
    return collate(samples)


def test_the_gap_of_hand_numbers() -> None:
    policy: Any = Fixed([9.0, -1.0, -2.0, 9.0, -0.5])
    found = measure_gap(policy, batch_of([-1.5, -1.8], [-0.5]), temperature=1.0)
    # The trainer's minus the sampler's: 0.5, -0.2, 0; k3: e^0.5 - 1.5 = 0.148721, e^-0.2 - 0.8 = 0.018731, 0.
    assert found.num_tokens == 3
    assert found.mean == pytest.approx(0.7 / 3)
    assert found.max == pytest.approx(0.5)
    assert found.bias == pytest.approx(0.1)
    assert found.k3 == pytest.approx((0.148721 + 0.018731) / 3, abs=1e-6)
    assert found.worst == "r0"
    assert found.metrics == {
        "sampler_logprob_gap": found.mean,
        "sampler_logprob_gap_max": found.max,
        "sampler_logprob_bias": found.bias,
        "sampler_kl_k3": found.k3,
    }


def test_the_gap_is_measured_at_the_temperature() -> None:
    policy: Any = Fixed([0.0, -1.0])
    assert measure_gap(policy, batch_of([-2.0]), temperature=0.5).max == pytest.approx(0.0)


def test_nothing_trained_has_no_gap_and_what_is_not_finite_an_infinite_one() -> None:
    policy: Any = Fixed([0.0, math.nan])
    empty = replace(batch_of([-1.0]), loss_mask=torch.zeros(2, dtype=torch.bool))
    assert measure_gap(policy, empty, temperature=1.0).max == 0.0
    assert measure_gap(policy, batch_of([-1.0]), temperature=1.0).max == math.inf


def test_k3_estimates_the_divergence(policy: Policy, chat_folder: Path) -> None:
    # KL(sampler ‖ trainer) of next tokens, exactly, against its estimate from 2048 draws after one prompt.
    prompt = policy.template.prompt_ids(make_tasks()[0].prompt)
    params = SamplingParams(max_new_tokens=1)
    found = TorchSampler(policy).sample([prompt] * 2048, params, seeds=list(range(2048)))
    samples = [
        Sample(
            name=str(i),
            token_ids=(*prompt, *one.token_ids),
            loss_mask=(False,) * len(prompt) + (True,),
            streams={"sampler_logprobs": (0.0,) * len(prompt) + one.sampler_logprobs},
        )
        for i, one in enumerate(found)
    ]
    with torch.no_grad():
        logits = policy.model(torch.tensor([prompt])).logits[0, -1].double()
    sampler, trainer = logits.log_softmax(-1), (logits / 1.2).log_softmax(-1)
    exact = float((sampler.exp() * (sampler - trainer)).sum())
    assert measure_gap(policy, collate(samples), temperature=1.2).k3 == pytest.approx(exact, rel=0.15)


def test_the_monitor_watches_so_many_groups_and_alarms_above_its_threshold() -> None:
    policy: Any = Fixed([0.0, -1.0, 0.0, -1.0, 0.0, -1.0])
    batch = batch_of([-1.0], [-1.04], [-3.0], groups=[4, 4, 7])
    found = GapMonitor()(policy, batch, temperature=1.0)
    assert found["sampler_logprob_gap_max"] == pytest.approx(0.04)
    with pytest.raises(GapError, match=r"2 nats at one token(.|\n)*row r2"):
        GapMonitor(max_gap=1.99, num_groups=2)(Diagnosed(policy), batch, temperature=1.0)
    assert GapMonitor(max_gap=2.01, num_groups=2)(policy, batch, temperature=1.0)
    assert GapMonitor(max_gap=math.inf, num_groups=2)(policy, batch, temperature=1.0)


def test_the_monitor_passes_over_groups_without_trained_tokens() -> None:
    policy: Any = Fixed([0.0, -1.0])
    batch = batch_of([-1.0], [-1.03], groups=[4, 7])
    batch = replace(batch, loss_mask=torch.tensor([False, False, False, True]))
    assert GapMonitor()(policy, batch, temperature=1.0)["sampler_logprob_gap_max"] == pytest.approx(0.03)
    batch = replace(batch, loss_mask=torch.zeros(4, dtype=torch.bool))
    assert GapMonitor()(policy, batch, temperature=1.0)["sampler_logprob_gap_max"] == 0.0


def test_over_steps_the_monitor_watches_every_place_of_the_batch() -> None:
    # The trainer answers -1 for every token, so that the largest gap names the group; the tokens add up to 6, 7, 8, 9.
    policy: Any = Fixed([-1.0] * 6)
    batch = batch_of([-1.01], [-1.02], [-1.03], groups=[0, 1, 2])
    found = []
    for step in range(4):
        tokens = batch.token_ids + torch.tensor([step, 0, 0, 0, 0, 0])
        gap = GapMonitor()(policy, replace(batch, token_ids=tokens), temperature=1.0)["sampler_logprob_gap_max"]
        found.append(round(gap, 4))
    assert found == [0.01, 0.02, 0.03, 0.01]


class Diagnosed(Fixed):
    """Like ``Fixed``, with logits of a uniform distribution for the diagnosis."""

    def __init__(self, other: Fixed) -> None:
        self.logprobs = other.logprobs

    def forward(self, batch: Batch, needs: object = None, *, temperature: float = 1.0) -> Outputs:
        found = super().forward(batch, needs, temperature=temperature)
        return replace(found, logits=torch.zeros(int(batch.loss_mask.sum()), 4))


def test_the_default_threshold_follows_the_precision() -> None:
    policy: Any = Fixed([0.0])
    assert threshold(policy) == 0.05
    policy.dtype = torch.bfloat16
    assert threshold(policy) == MAX_GAP[torch.bfloat16] == 1.0


@pytest.mark.parametrize("setting", [{"max_gap": 0.0}, {"max_gap": math.nan}, {"num_groups": 0}])
def test_impossible_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(setting))):
        GapMonitor(**setting)


# -------------------------------------------------------------------------------------------------- planted mismatches


@pytest.mark.capability("AB-temperature-in-logp")
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_and_trainer_that_are_the_same_model_calibrate_to_rounding(policy: Policy, temperature: float) -> None:
    params = replace(PARAMS, temperature=temperature)
    found = calibrate(policy, TorchSampler(policy), make_tasks(), params=params, samples_per_task=2)
    assert found.require() is found
    assert found.gap.max < 1e-4
    assert found.cause == ""
    assert (found.num_completions, found.temperature, found.repeat_share) == (8, temperature, 1.0)


def test_calibrating_changes_nothing_and_greedy_is_compared_at_temperature_1(policy: Policy) -> None:
    before = policy.digest()
    found = calibrate(policy, TorchSampler(policy), make_tasks(), params=replace(PARAMS, temperature=0.0))
    assert found.is_rounding
    assert found.temperature == 1.0
    assert policy.digest() == before


def test_a_calibration_needs_something_to_sample(policy: Policy) -> None:
    with pytest.raises(RecipeError, match="0 tasks"):
        calibrate(policy, TorchSampler(policy), [])
    with pytest.raises(RecipeError, match="with 0 samples"):
        calibrate(policy, TorchSampler(policy), make_tasks(), samples_per_task=0)


@pytest.mark.parametrize(
    ("asked", "planted", "cause"),
    [
        ({}, {"temperature": 0.7}, "another temperature: 0.7 fits, 1 was asked for"),
        ({}, {"temperature": 1.3}, "another temperature: 1.3 fits, 1 was asked for"),
        ({"temperature": 0.6}, {"temperature": 1.0}, "another temperature: 1 fits, 0.6 was asked for, as of a server"),
        ({}, {"top_p": 0.8}, "top_p = 0.8 in the sampler"),
        ({"temperature": 0.8}, {"top_p": 0.9}, "top_p = 0.9 in the sampler"),
        ({}, {"top_k": 5}, "top_k = 5 in the sampler"),
        ({}, {"shift": 1}, "one token late"),
        ({}, {"shift": -1}, "one token early"),
    ],
)
def test_a_planted_mismatch_is_found_and_named(
    policy: Policy, asked: dict[str, Any], planted: dict[str, Any], cause: str
) -> None:
    sampler = Changed(policy, **planted)
    found = calibrate(policy, sampler, make_tasks(), params=replace(PARAMS, **asked), samples_per_task=2)
    assert cause in found.cause
    assert found.gap.max > 0.05
    with pytest.raises(GapError, match="mend the sampler") as caught:
        found.require()
    assert cause in caught.value.why


def test_stale_weights_are_found_and_named(policy: Policy) -> None:
    stale = copy.copy(policy)
    stale.model = copy.deepcopy(policy.model)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in stale.model.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.std() * 0.1)
    found = calibrate(policy, TorchSampler(stale), make_tasks(), params=PARAMS)
    assert not found.is_rounding
    assert "likely other weights than the policy's: stale ones" in found.cause


def test_a_sampler_that_ignores_seeds_is_seen(policy: Policy) -> None:
    class Unseeded(Changed):
        calls = 0

        def sample(self, prompts: Any, params: SamplingParams, *, seeds: Any) -> list[Completion]:
            self.calls += 1
            return super().sample(prompts, params, seeds=[1000 * self.calls + i for i in range(len(seeds))])

    found = calibrate(policy, Unseeded(policy), make_tasks(), params=PARAMS)
    assert found.is_rounding
    assert found.repeat_share == 0.0


def test_a_cut_distribution_shows_in_the_bias(policy: Policy) -> None:
    found = calibrate(policy, Changed(policy, top_p=0.8), make_tasks(), params=PARAMS)
    assert found.gap.bias == pytest.approx(-found.gap.mean)
    assert found.gap.bias < -0.1


def test_log_probabilities_that_are_not_finite_are_named() -> None:
    policy: Any = Diagnosed(Fixed([0.0, -1.0]))
    assert "not finite" in diagnose(policy, batch_of([math.nan]), temperature=1.0)
