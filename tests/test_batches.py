"""Laying rows end to end and cutting between groups loses and changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import random_rows, row
from strop.batches import collate, completion_sample, sequence_lengths, split, take, to_device
from strop.errors import MismatchError
from strop.objectives import DPO, KTO, PolicyGradient, SimPO, ValueLoss
from strop.types import Batch, Completion, Objective, Outputs, Sample

thorough = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def rows_of(batch: Batch) -> list[Sample]:
    """The samples that the batch was made of, read back by sequence."""
    samples = []
    for sequence, name in enumerate(batch.names):
        here = batch.sequence_ids == sequence
        samples.append(
            Sample(
                name=name,
                token_ids=tuple(batch.token_ids[here].tolist()),
                loss_mask=tuple(batch.loss_mask[here].tolist()),
                streams={key: tuple(stream[here].tolist()) for key, stream in batch.streams.items()},
                facts={key: fact[sequence].item() for key, fact in batch.facts.items()},
            )
        )
    return samples


def single_precision(sample: Sample) -> Sample:
    streams = {key: tuple(torch.tensor(s, dtype=torch.float32).tolist()) for key, s in sample.streams.items()}
    facts = {
        key: value if key == "group_ids" else torch.tensor(value, dtype=torch.float32).item()
        for key, value in sample.facts.items()
    }
    return replace(sample, streams=streams, facts=facts)


@thorough
@given(seed=seeds, num_groups=st.integers(1, 4), group_size=st.integers(1, 3))
def test_a_batch_holds_its_rows_unchanged_and_in_order(seed: int, num_groups: int, group_size: int) -> None:
    rows = random_rows(seed, num_groups, group_size)
    assert rows_of(collate(rows)) == [single_precision(sample) for sample in rows]


def test_positions_restart_at_zero_in_every_sequence() -> None:
    batch = collate([row([-1.0, -1.0]), row([-1.0])])
    assert batch.position_ids.tolist() == [0, 1, 2, 0, 1]
    assert batch.sequence_ids.tolist() == [0, 0, 0, 1, 1]
    assert sequence_lengths(batch).tolist() == [3, 2]


@thorough
@given(seed=seeds, data=st.data())
def test_taking_sequences_equals_collating_only_those_rows(seed: int, data: st.DataObject) -> None:
    rows = random_rows(seed, 3)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True))
    taken, expected = take(collate(rows), chosen), collate([rows[i] for i in chosen])
    assert rows_of(taken) == rows_of(expected)
    assert taken.position_ids.tolist() == expected.position_ids.tolist()
    assert taken.sequence_ids.tolist() == expected.sequence_ids.tolist()


@thorough
@given(seed=seeds, num_groups=st.integers(1, 5), group_size=st.integers(1, 3), max_tokens=st.integers(1, 60))
def test_micro_batches_keep_every_row_and_never_cut_a_group(
    seed: int, num_groups: int, group_size: int, max_tokens: int
) -> None:
    rows = random_rows(seed, num_groups, group_size)
    pieces = split(collate(rows), max_tokens)
    assert [sample for piece in pieces for sample in rows_of(piece)] == rows_of(collate(rows))
    groups = [set(piece.facts["group_ids"].tolist()) for piece in pieces]
    assert sum(len(group) for group in groups) == num_groups
    for piece, group in zip(pieces, groups, strict=True):
        assert piece.num_tokens <= max_tokens or len(group) == 1


def test_rows_without_a_group_are_cut_anywhere() -> None:
    rows = [replace(row([-1.0, -1.0], name=str(i)), facts={}) for i in range(4)]
    assert [piece.names for piece in split(collate(rows), 6)] == [("0", "1"), ("2", "3")]


def test_a_group_that_is_scattered_over_the_batch_is_brought_together() -> None:
    rows = [row([-1.0], name=f"{i}", group=i % 2) for i in range(4)]
    assert [piece.names for piece in split(collate(rows), 4)] == [("0", "2"), ("1", "3")]


def test_a_batch_that_fits_is_not_copied() -> None:
    batch = collate(random_rows(0))
    assert split(batch, batch.num_tokens)[0] is batch


def test_cursor_and_metrics_travel_with_the_batch() -> None:
    batch = collate([row([-1.0])], cursor={"row": 3}, metrics={"pass_rate": 0.5})
    assert take(batch, [0]).cursor == to_device(batch, "cpu").cursor == {"row": 3}
    assert batch.metrics == {"pass_rate": 0.5}


def test_large_group_ids_are_exact() -> None:
    ids = [2**40 + 1, 2**40 + 2]
    batch = collate([replace(row([-1.0], name=str(i)), facts={"group_ids": i}) for i in ids])
    assert batch.facts["group_ids"].tolist() == ids


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [replace(row([-1.0]), loss_mask=(True, True))],
        [replace(row([-1.0]), loss_mask=(False,))],
        [row([-1.0]), row([-1.0], weights=1.0)],
        [replace(row([-1.0]), streams={"weights": (1.0,)})],
    ],
    ids=["no rows", "trained first token", "short mask", "a stream on one row only", "short stream"],
)
def test_rows_that_cannot_be_laid_out_are_a_broken_promise(rows: list[Sample]) -> None:
    with pytest.raises(AssertionError):
        collate(rows)


def test_a_completion_is_trained_on_every_token_of_its_own() -> None:
    completion = Completion(token_ids=(7, 2), sampler_logprobs=(-0.5, -0.25), text="a", finish_reason="stop")
    assert completion_sample("t#0", [5, 6, 8], completion) == Sample(
        name="t#0",
        token_ids=(5, 6, 8, 7, 2),
        loss_mask=(False, False, False, True, True),
        streams={"sampler_logprobs": (0.0, 0.0, 0.0, -0.5, -0.25)},
    )


@pytest.mark.parametrize(
    ("objective", "missing", "provider"),
    [
        (DPO(), "stream 'ref_logprobs'", "strop.methods.dpo"),
        (SimPO(), "fact 'group_ids'", "strop.methods.dpo, one id a pair"),
        (KTO(), "fact 'reference_kl'", "strop.objectives.reference_point"),
        (PolicyGradient(), "stream 'advantages'", "strop.credit"),
        (ValueLoss(), "stream 'returns'", "strop.credit.gae"),
    ],
)
def test_an_objective_on_a_batch_without_its_stream_names_it_and_who_makes_it(
    objective: Objective, missing: str, provider: str
) -> None:
    pair: dict[str, float] = {"group_ids": 0, "preferred": 1.0}
    rows = [
        Sample(name=f"r{i}", token_ids=(5, 6), loss_mask=(False, True), facts={**pair, "preferred": 1.0 - i})
        for i in range(2)
    ]
    batch = collate(rows)
    if "ref_logprobs" not in missing:
        batch = replace(batch, streams={"ref_logprobs": torch.zeros(4)})
    if "group_ids" in missing:
        batch = replace(batch, facts={"preferred": batch.facts["preferred"]})
    zeros = torch.zeros(4)
    outputs = Outputs(logprobs=zeros, entropy=zeros, values=zeros, scores=zeros)
    with pytest.raises(MismatchError) as caught:
        objective(outputs, batch, objective.count(batch))
    assert missing in caught.value.what
    assert provider in caught.value.do
    present = batch.streams if "stream" in missing else batch.facts
    assert caught.value.why.endswith(", ".join(sorted(present)) or "it has no streams")
