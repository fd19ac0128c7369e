"""Supervised fine-tuning: what is trained, in which order, and from where it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_checks import assert_same_batch, take_batches
from strop.data import Mixture
from strop.errors import DataError, MismatchError
from strop.methods import sft
from strop.models import Policy
from strop.training import AdamW, train
from strop.types import Conversation, Message


@pytest.fixture(scope="module")
def policy(chat_folder: Path) -> Policy:
    return Policy.load(chat_folder, device="cpu", dtype="float32")


def make_conversations(number: int) -> list[Conversation]:
    return [
        Conversation(
            id=f"c{i}",
            messages=(
                Message(role="user", content=f"Compute {i} + 17."),
                Message(role="assistant", content=f"{i}+17={i + 17}. Answer: {i + 17}"),
            ),
        )
        for i in range(number)
    ]


def test_every_pass_sees_every_row_once_in_an_order_of_its_own(policy: Policy) -> None:
    stream, _ = sft(policy, make_conversations(10), batch_size=4, seed=3)
    batches = take_batches(stream, policy, 6)
    assert [batch.num_sequences for batch in batches] == [4, 4, 2, 4, 4, 2]
    first, second = ([name for batch in half for name in batch.names] for half in (batches[:3], batches[3:]))
    assert sorted(first) == sorted(second) == sorted(f"c{i}" for i in range(10))
    assert first != second


def test_only_the_answer_and_its_stop_token_are_trained(policy: Policy) -> None:
    stream, _ = sft(policy, make_conversations(1), batch_size=1)
    batch = take_batches(stream, policy, 1)[0]
    trained = batch.token_ids[batch.loss_mask].tolist()
    assert trained[-1] in policy.template.stop_token_ids
    assert policy.template.decode(trained) == "0+17=17. Answer: 17"


def test_last_trains_the_last_answer_only(policy: Policy) -> None:
    one, two = make_conversations(2)
    both = Conversation(id="both", messages=(*one.messages, *two.messages))
    texts = {}
    for turns in ("all", "last"):
        stream, _ = sft(policy, [both], batch_size=1, turns=turns)  # type: ignore[arg-type]
        batch = take_batches(stream, policy, 1)[0]
        texts[turns] = policy.template.decode(batch.token_ids[batch.loss_mask].tolist())
    assert texts == {"all": "0+17=17. Answer: 17<|end|>1+17=18. Answer: 18", "last": "1+17=18. Answer: 18"}


def test_a_stream_resumed_anywhere_equals_one_that_never_stopped(policy: Policy) -> None:
    stream, _ = sft(policy, make_conversations(10), batch_size=4, seed=3)
    whole = take_batches(stream, policy, 7)
    for stopped in (1, 3, 5):
        again, _ = sft(policy, make_conversations(10), batch_size=4, seed=3)
        rest = take_batches(again, policy, 7 - stopped, start=whole[stopped - 1].cursor)
        for one, other in zip(whole[stopped:], rest, strict=True):
            assert_same_batch(one, other)


def test_changed_rows_or_order_are_refused_on_resume(policy: Policy) -> None:
    stream, _ = sft(policy, make_conversations(10), batch_size=4, seed=3)
    cursor = take_batches(stream, policy, 1)[0].cursor
    for changed in ({"batch_size": 5}, {"seed": 4}):
        other, _ = sft(policy, make_conversations(10), **{"batch_size": 4, "seed": 3, **changed})
        with pytest.raises(MismatchError, match=f"another {next(iter(changed))}"):
            take_batches(other, policy, 1, start=cursor)
    fewer, _ = sft(policy, make_conversations(9), batch_size=4, seed=3)
    with pytest.raises(MismatchError, match="another rows"):
        take_batches(fewer, policy, 1, start=cursor)


@pytest.mark.capability("SF-23")
def test_training_refuses_what_the_pre_flight_refuses(policy: Policy) -> None:
    silent = Conversation(id="silent", messages=(Message(role="user", content="Hello?"),))
    with pytest.raises(DataError, match="silent"):
        sft(policy, [*make_conversations(3), silent])
    with pytest.raises(DataError, match="c0"):
        sft(policy, make_conversations(1), max_length=8)


def test_training_lowers_the_loss(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    stream, objective = sft(policy, make_conversations(8), batch_size=8)
    optimizer = AdamW(lr=1e-2, schedule="constant", warmup=0.0)
    losses = [step.loss for step in train(policy, stream, objective, optimizer=optimizer, num_steps=12)]
    assert losses[-1] < losses[0] - 1


@pytest.mark.parametrize("stop", [1, 5])
def test_two_sources_come_in_their_shares_and_go_on_from_a_cursor(policy: Policy, stop: int) -> None:
    rows = make_conversations(30)
    stream, _ = sft(policy, rows, batch_size=4, mixture=Mixture(sizes=(10, 20), shares=(0.8, 0.2)))
    whole = take_batches(stream, policy, 20)
    trained = [0, 0]
    for batch in whole:
        for index, name in enumerate(batch.names):
            trained[int(name[1:]) >= 10] += int(batch.loss_mask[batch.sequence_ids == index].sum())
    assert trained[0] / sum(trained) == pytest.approx(0.8, abs=0.02)
    assert whole[-1].metrics["share_0"] == pytest.approx(trained[0] / sum(trained))
    for one, other in zip(whole[stop:8], take_batches(stream, policy, 8 - stop, start=whole[stop - 1].cursor)):
        assert_same_batch(one, other)


def test_a_cursor_of_other_sources_is_refused(policy: Policy) -> None:
    rows = make_conversations(30)
    stream, _ = sft(policy, rows, batch_size=4, mixture=Mixture(sizes=(10, 20), shares=(0.8, 0.2)))
    cursor = take_batches(stream, policy, 1)[0].cursor
    other, _ = sft(policy, rows, batch_size=4, mixture=Mixture(sizes=(20, 10), shares=(0.8, 0.2)))
    with pytest.raises(MismatchError, match="sizes"):
        take_batches(other, policy, 1, start=cursor)
