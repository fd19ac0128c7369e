"""GRPO and Dr. GRPO from rollouts to updates, on a toy reward that a random model can climb in a few steps."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stream_checks import assert_same_batch, take_batches
from strop.digests import digest_tensors
from strop.errors import DataError, GapError, MismatchError, RecipeError, VerifierError
from strop.methods import dr_grpo, grpo, rl
from strop.models import Policy
from strop.sampling import TorchSampler
from strop.training import AdamW, latest_checkpoint, train
from strop.types import Completion, Constraint, Message, Task, Verdict

SMALL: dict[str, Any] = {"group_size": 4, "prompts_per_step": 3, "max_new_tokens": 6, "unaudited": "a toy reward"}
OPTIMIZER = AdamW(lr=2e-2, schedule="constant", warmup=0.0)


class LowTokens:
    """The share of new tokens with an id below 120: about a third for a random model, 1 at best."""

    name = "low tokens"
    digest = "low tokens, below 120"

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        score = sum(token < 120 for token in completion.token_ids) / len(completion.token_ids)
        return Verdict(score=score, passed=score > 0.5)


def load(folder: Path) -> Policy:
    return Policy.load(folder, device="cpu", dtype="float32")


def make_tasks(number: int) -> list[Task]:
    return [
        Task(id=f"t{i}", prompt=(Message(role="user", content=f"Compute {i} + 1"),), reference={"answer": i + 1})
        for i in range(number)
    ]


@pytest.mark.parametrize("method", [grpo, dr_grpo])
def test_the_reward_rises_within_a_few_steps(chat_folder: Path, method: Any) -> None:
    policy = load(chat_folder)
    stream, objective = method(
        policy, make_tasks(6), LowTokens(), group_size=8, prompts_per_step=4, max_new_tokens=8, unaudited="a toy reward"
    )
    rewards = [step.metrics["reward"] for step in train(policy, stream, objective, optimizer=OPTIMIZER, num_steps=8)]
    # 32 samples of 8 tokens: the standard error of a mean is about 0.03.
    assert rewards[0] < 0.4
    assert rewards[-1] > rewards[0] + 0.2


def test_every_step_samples_from_the_policy_as_it_is_then(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, objective = grpo(policy, make_tasks(4), LowTokens(), **SMALL)
    for step in train(policy, stream, objective, optimizer=OPTIMIZER, num_steps=4):
        assert step.metrics["sampler_logprob_gap"] < 1e-4
        assert step.metrics["ratio"] == pytest.approx(1)


def test_a_sampler_whose_weights_are_stale_stops_the_run_and_is_named(
    chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, stale = load(chat_folder), load(chat_folder)
    monkeypatch.setattr(rl, "TorchSampler", lambda _: TorchSampler(stale))
    stream, objective = grpo(policy, make_tasks(4), LowTokens(), **SMALL)
    steps = train(policy, stream, objective, optimizer=OPTIMIZER, num_steps=4)
    assert next(steps).metrics["sampler_logprob_gap_max"] < 1e-4
    with pytest.raises(GapError, match="likely other weights than the policy's: stale ones"):
        list(steps)


def test_a_gap_that_is_allowed_is_logged(chat_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, stale = load(chat_folder), load(chat_folder)
    monkeypatch.setattr(rl, "TorchSampler", lambda _: TorchSampler(stale))
    stream, objective = grpo(policy, make_tasks(4), LowTokens(), max_gap=math.inf, **SMALL)
    steps = list(train(policy, stream, objective, optimizer=OPTIMIZER, num_steps=2))
    found = steps[1].metrics
    assert found["sampler_logprob_gap_max"] > 0.05
    assert found["sampler_logprob_gap_max"] > found["sampler_logprob_gap"] > 0.01
    assert found["sampler_kl_k3"] > 1e-4
    assert steps[0].metrics["sampler_kl_k3"] < 1e-8


@pytest.mark.capability("AB-temperature-in-logp")
def test_the_temperature_of_the_rollouts_is_that_of_the_objective(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, objective = grpo(policy, make_tasks(4), LowTokens(), temperature=0.6, **SMALL)
    assert objective.temperature == 0.6
    batch = take_batches(stream, policy, 1)[0]
    logprobs = policy.forward(batch, temperature=0.6).logprobs.detach()
    torch.testing.assert_close(logprobs, batch.streams["sampler_logprobs"], atol=1e-4, rtol=0)


def test_a_step_holds_whole_groups_of_distinct_draws(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, _ = grpo(policy, make_tasks(6), LowTokens(), **SMALL)
    batches = take_batches(stream, policy, 2)
    assert [batch.num_sequences for batch in batches] == [12, 12]
    names = [name for batch in batches for name in batch.names]
    assert sorted(names) == sorted(f"t{i}#{j}" for i in range(6) for j in range(4))
    first = batches[0]
    rows = {tuple(first.token_ids[first.sequence_ids == s].tolist()) for s in range(12)}
    assert len(rows) > 6


def test_a_resumed_stream_draws_the_very_same_rollouts(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, _ = grpo(policy, make_tasks(5), LowTokens(), seed=3, **SMALL)
    whole = take_batches(stream, policy, 4)
    again, _ = grpo(policy, make_tasks(5), LowTokens(), seed=3, **SMALL)
    for one, other in zip(whole[2:], take_batches(again, policy, 2, start=whole[1].cursor), strict=True):
        assert_same_batch(one, other)


def test_a_run_resumed_from_its_checkpoint_ends_with_the_same_weights(chat_folder: Path, tmp_path: Path) -> None:
    def run(policy: Policy, resume: Path | None) -> Any:
        stream, objective = grpo(policy, make_tasks(5), LowTokens(), seed=3, **SMALL)
        return train(policy, stream, objective, optimizer=OPTIMIZER, num_steps=4, resume=resume)

    uninterrupted = load(chat_folder)
    list(run(uninterrupted, None))
    stopped = load(chat_folder)
    for step in islice(run(stopped, None), 2):
        step.save(tmp_path)
    resumed = load(chat_folder)
    assert len(list(run(resumed, latest_checkpoint(tmp_path)))) == 2
    assert digest_tensors(resumed.state()) == digest_tensors(uninterrupted.state())


def test_changed_tasks_verifier_or_settings_are_refused_on_resume(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, _ = grpo(policy, make_tasks(5), LowTokens(), **SMALL)
    cursor = take_batches(stream, policy, 1)[0].cursor
    other_verifier: Any = LowTokens()
    other_verifier.digest = "another"
    changed = [
        ("tasks", grpo(policy, make_tasks(4), LowTokens(), **SMALL)),
        ("verifier", grpo(policy, make_tasks(5), other_verifier, **SMALL)),
        ("settings", grpo(policy, make_tasks(5), LowTokens(), **{**SMALL, "group_size": 5})),
        ("audit", grpo(policy, make_tasks(5), LowTokens(), **{**SMALL, "unaudited": "another reason"})),
    ]
    for what, (other, _) in changed:
        with pytest.raises(MismatchError, match=f"another {what}"):
            take_batches(other, policy, 1, start=cursor)


@pytest.mark.capability("RL-25")
def test_nothing_starts_without_an_audit_or_a_reason(chat_folder: Path) -> None:
    policy = load(chat_folder)
    without = {key: value for key, value in SMALL.items() if key != "unaudited"}
    with pytest.raises(VerifierError, match="no audit"):
        grpo(policy, make_tasks(3), LowTokens(), **without)
    with pytest.raises(VerifierError, match="no audit"):
        dr_grpo(policy, make_tasks(3), LowTokens(), **without)
    stream, _ = grpo(policy, make_tasks(3), LowTokens(), **SMALL)
    assert take_batches(stream, policy, 1)[0].cursor["audit"] == "none: a toy reward"


@pytest.mark.capability("RL-25")
def test_an_audit_must_pass_and_be_of_this_verifier(chat_folder: Path) -> None:
    policy = load(chat_folder)
    without = {key: value for key, value in SMALL.items() if key != "unaudited"}

    def fail() -> None:
        raise VerifierError("accepts 3 of 10 wrong answers")

    passed: Any = SimpleNamespace(digest=LowTokens.digest, require=lambda: None)
    failed: Any = SimpleNamespace(digest=LowTokens.digest, require=fail)
    stranger: Any = SimpleNamespace(digest="another verifier", require=lambda: None)
    stream, _ = grpo(policy, make_tasks(3), LowTokens(), audit=passed, **without)
    assert take_batches(stream, policy, 1)[0].cursor["audit"] == "passed"
    with pytest.raises(VerifierError, match="3 of 10"):
        grpo(policy, make_tasks(3), LowTokens(), audit=failed, **without)
    with pytest.raises(VerifierError, match="not of the verifier"):
        grpo(policy, make_tasks(3), LowTokens(), audit=stranger, **without)
    with pytest.raises(RecipeError, match="audit and a reason"):
        grpo(policy, make_tasks(3), LowTokens(), audit=passed, **SMALL)


def test_settings_without_a_meaning_are_refused(chat_folder: Path) -> None:
    policy = load(chat_folder)
    with pytest.raises(RecipeError, match="group_size"):
        grpo(policy, make_tasks(3), LowTokens(), **{**SMALL, "group_size": 1})
    with pytest.raises(RecipeError, match="temperature"):
        grpo(policy, make_tasks(3), LowTokens(), temperature=0.0, **SMALL)


def test_a_prompt_without_room_for_the_answer_is_refused_before_the_first_step(chat_folder: Path) -> None:
    policy = load(chat_folder)
    long = Task(id="long", prompt=(Message(role="user", content="7 " * 400),))
    with pytest.raises(DataError, match="long"):
        grpo(policy, [*make_tasks(2), long], LowTokens(), **SMALL)


def test_dr_grpo_is_grpo_without_scale_and_with_a_constant_length(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, objective = dr_grpo(policy, make_tasks(3), LowTokens(), **SMALL)
    same, plain = grpo(policy, make_tasks(3), LowTokens(), scale=None, aggregate="constant", **SMALL)
    assert objective == plain
    assert (objective.aggregate, objective.constant_length) == ("constant", 6)
    assert_same_batch(take_batches(stream, policy, 1)[0], take_batches(same, policy, 1)[0])


@pytest.mark.capability("AB-truncated-sampling-guard")
@pytest.mark.parametrize(
    "truncation",
    [
        {"top_p": 0.9},
        {"top_k": 20},
        {"min_p": 0.1},
        {"repetition_penalty": 1.1},
        {"logit_bias": {5: 1.0}},
        {"constraint": Constraint(kind="choice", value=("a",))},
    ],
)
def test_truncated_sampling_is_refused(chat_folder: Path, truncation: dict[str, Any]) -> None:
    stream, _ = grpo(load(chat_folder), make_tasks(3), LowTokens(), **SMALL)
    with pytest.raises(RecipeError, match="truncated"):
        replace(stream, params=replace(stream.params, **truncation))
