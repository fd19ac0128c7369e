"""DPO: the reference is the policy at the stage's start, computed once and never mistaken for another."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from stream_checks import assert_same_batch, take_batches
from strop.errors import DataError, MismatchError
from strop.methods import dpo
from strop.models import LoRA, Policy
from strop.training import AdamW, train
from strop.types import Message, Preference


def load(folder: Path, lora: LoRA | None = None) -> Policy:
    return Policy.load(folder, lora=lora, device="cpu", dtype="float32")


def shift(policy: Policy) -> None:
    """Another policy: every trainable weight moved a little."""
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.05)


def make_preferences(number: int) -> list[Preference]:
    return [
        Preference(
            id=f"p{i}",
            prompt=(Message(role="user", content=f"What is {i} + 1?"),),
            chosen=(Message(role="assistant", content=f"Answer: {i + 1}"),),
            rejected=(Message(role="assistant", content=f"I believe that it may well be {i + 2}."),),
        )
        for i in range(number)
    ]


@pytest.mark.capability("AB-ref-equals-policy-at-step-0", "AB-DPO-ln2")
@pytest.mark.capability("PR-08")
@pytest.mark.parametrize("lora", [None, LoRA(rank=4)], ids=["full", "lora"])
def test_the_first_loss_is_ln_2_and_the_margin_grows(chat_folder: Path, lora: LoRA | None) -> None:
    policy = load(chat_folder, lora)
    stream, objective = dpo(policy, make_preferences(8), batch_size=8)
    optimizer = AdamW(lr=5e-3, schedule="constant", warmup=0.0)
    steps = list(train(policy, stream, objective, optimizer=optimizer, num_steps=6))
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-5)
    assert steps[0].metrics["margin"] == pytest.approx(0, abs=1e-3)
    assert steps[-1].metrics["margin"] > steps[1].metrics["margin"] > 0
    assert steps[-1].loss < steps[0].loss


@pytest.mark.capability("AB-ref-unchanged")
def test_after_an_earlier_stage_the_reference_includes_its_adapter(chat_folder: Path) -> None:
    policy = load(chat_folder, LoRA(rank=4))
    shift(policy)  # as an earlier stage would: the adapter is no longer the identity
    stream, objective = dpo(policy, make_preferences(4), batch_size=4)
    optimizer = AdamW(lr=1e-3, schedule="constant", warmup=0.0)
    step = next(iter(train(policy, stream, objective, optimizer=optimizer, num_steps=1)))
    assert step.loss == pytest.approx(math.log(2), abs=1e-5)


def test_the_reference_logprobs_are_those_of_the_plain_model(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, _ = dpo(policy, make_preferences(5), batch_size=5)
    batch = take_batches(stream, policy, 1)[0]
    for sequence in range(batch.num_sequences):
        mine = batch.sequence_ids == sequence
        token_ids = batch.token_ids[mine]
        with torch.no_grad():
            logprobs = policy.model(input_ids=token_ids[None]).logits[0].log_softmax(-1)
        expected = logprobs[:-1].gather(1, token_ids[1:, None])[:, 0] * batch.loss_mask[mine][1:]
        torch.testing.assert_close(batch.streams["ref_logprobs"][mine][1:], expected, atol=2e-5, rtol=0)


def test_pairs_stand_together_chosen_first(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, _ = dpo(policy, make_preferences(5), batch_size=3)
    batch = take_batches(stream, policy, 1)[0]
    assert batch.num_sequences == 6
    assert batch.facts["preferred"].tolist() == [1, 0] * 3
    group_ids = batch.facts["group_ids"].tolist()
    assert group_ids[::2] == group_ids[1::2]
    assert len(set(group_ids)) == 3
    for name, preferred in zip(batch.names, batch.facts["preferred"].tolist(), strict=True):
        assert ("chosen" in name) == bool(preferred)


def test_the_stored_reference_serves_a_restarted_stage(chat_folder: Path, tmp_path: Path) -> None:
    calls: list[float] = []
    kwargs = {"batch_size": 2, "cache": tmp_path / "reference", "progress": lambda *call: calls.append(call[1])}
    policy = load(chat_folder)
    stream, _ = dpo(policy, make_preferences(5), **kwargs)  # type: ignore[arg-type]
    assert calls == [10]
    again, _ = dpo(load(chat_folder), make_preferences(5), **kwargs)  # type: ignore[arg-type]
    assert calls == [10]
    for one, other in zip(take_batches(stream, policy, 3), take_batches(again, policy, 3), strict=True):
        assert_same_batch(one, other)


def test_other_pairs_under_the_same_policy_are_computed_again(chat_folder: Path, tmp_path: Path) -> None:
    policy = load(chat_folder)
    dpo(policy, make_preferences(5), cache=tmp_path)
    stored, _ = dpo(policy, make_preferences(6), batch_size=6, cache=tmp_path)
    fresh, _ = dpo(policy, make_preferences(6), batch_size=6)
    assert_same_batch(take_batches(stored, policy, 1)[0], take_batches(fresh, policy, 1)[0])


@pytest.mark.capability("AB-ref-unchanged")
def test_a_trained_policy_is_not_taken_for_the_reference(chat_folder: Path, tmp_path: Path) -> None:
    policy = load(chat_folder)
    stream, _ = dpo(policy, make_preferences(5), batch_size=2, cache=tmp_path)
    cursor = take_batches(stream, policy, 1)[0].cursor
    shift(policy)
    with pytest.raises(MismatchError, match="another policy"):
        dpo(policy, make_preferences(5), batch_size=2, cache=tmp_path)
    without_cache, _ = dpo(policy, make_preferences(5), batch_size=2)
    with pytest.raises(MismatchError, match="another reference"):
        take_batches(without_cache, policy, 1, start=cursor)


def test_a_damaged_store_is_refused(chat_folder: Path, tmp_path: Path) -> None:
    policy = load(chat_folder)
    dpo(policy, make_preferences(2), cache=tmp_path)
    stored = next(tmp_path.iterdir())
    stored.write_bytes(stored.read_bytes()[:40])
    with pytest.raises(MismatchError, match="cannot be read"):
        dpo(policy, make_preferences(2), cache=tmp_path)


def test_a_stream_resumed_anywhere_equals_one_that_never_stopped(chat_folder: Path) -> None:
    policy = load(chat_folder)
    stream, _ = dpo(policy, make_preferences(5), batch_size=2, seed=1)
    whole = take_batches(stream, policy, 6)
    for stopped in (1, 4):
        rest = take_batches(stream, policy, 6 - stopped, start=whole[stopped - 1].cursor)
        for one, other in zip(whole[stopped:], rest, strict=True):
            assert_same_batch(one, other)


def test_a_pair_without_a_difference_is_refused(chat_folder: Path) -> None:
    pair = make_preferences(1)[0]
    same = Preference(id="same", prompt=pair.prompt, chosen=pair.chosen, rejected=pair.chosen)
    with pytest.raises(DataError, match="same"):
        dpo(load(chat_folder), [pair, same])
