"""Packing fills a context, loses nothing, and changes no number."""

import random
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_rows import steady, talk, tiny_template
from strop.batches import collate
from strop.data import conversation_sample, document_samples, efficiency, pack, pieces
from strop.errors import DataError
from strop.types import Document

lengths_and_capacity = st.integers(1, 50).flatmap(
    lambda capacity: st.tuples(st.lists(st.integers(1, capacity), max_size=40), st.just(capacity))
)


@steady
@given(lengths_and_capacity)
def test_every_sequence_lies_in_exactly_one_bin_and_no_bin_overflows(case: tuple[list[int], int]) -> None:
    lengths, capacity = case
    bins = pack(lengths, capacity)
    assert sorted(index for members in bins for index in members) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in members) <= capacity for members in bins)
    # two bins that fit into one would have been one
    for one, other in combinations(bins, 2):
        assert sum(lengths[index] for index in (*one, *other)) > capacity


@steady
@given(lengths_and_capacity)
def test_packing_equals_the_slow_rule(case: tuple[list[int], int]) -> None:
    lengths, capacity = case
    slow: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        room = [capacity - sum(lengths[i] for i in members) for members in slow]
        fitting = [number for number in range(len(slow)) if room[number] >= lengths[index]]
        if fitting:
            slow[min(fitting, key=lambda number: room[number])].append(index)
        else:
            slow.append([index])
    assert pack(lengths, capacity) == sorted(sorted(members) for members in slow)


def test_a_hand_example() -> None:
    # 7 alone leaves 3, which takes the 3; 6 leaves 4, which takes the 4; the 2 has room nowhere
    assert pack([3, 7, 4, 6, 2], 10) == [[0, 1], [2, 3], [4]]
    assert efficiency([3, 7, 4, 6, 2], [[0, 1], [2, 3], [4]], 10) == 22 / 30


@pytest.mark.capability("CP-04")
def test_a_skewed_set_of_lengths_fills_more_than_95_percent() -> None:
    random.seed(0)
    lengths = [min(2048, max(8, int(random.lognormvariate(5.0, 1.0)))) for _ in range(2000)]
    bins = pack(lengths, 2048)
    assert efficiency(lengths, bins, 2048) > 0.95
    one_each = sum(lengths) / (len(lengths) * 2048)
    assert one_each < 0.15


@pytest.mark.capability("CP-04")
@steady
@given(st.integers(1, 300), st.integers(2, 40))
def test_split_pieces_lose_no_token_and_make_each_a_target_once(length: int, capacity: int) -> None:
    cuts = pieces(length, capacity)
    assert all(0 < stop - start <= capacity for start, stop in cuts)
    targets = [position for start, stop in cuts for position in range(start + 1, stop)]
    assert targets == list(range(1, length))
    assert cuts[0][0] == 0
    assert len(cuts) == max(1, -(-(length - 1) // (capacity - 1)))


def test_split_documents_pack_above_95_percent() -> None:
    random.seed(1)
    texts = ["".join(random.choices("ABCDEFGH", k=int(random.paretovariate(1.2) * 10))) for _ in range(150)]
    documents = [Document(id=str(number), text=text) for number, text in enumerate(texts)]
    samples = document_samples(tiny_template(), documents, max_length=256, mode="split")
    lengths = [len(sample.token_ids) for sample in samples]
    assert max(map(len, texts)) > 256
    assert efficiency(lengths, pack(lengths, 256), 256) > 0.95


def test_a_sequence_that_fits_nowhere_is_an_error() -> None:
    with pytest.raises(DataError, match="11 tokens does not fit into 10"):
        pack([3, 11], 10)


def test_packed_lines_up_position_and_mask_with_each_sequence() -> None:
    samples = [conversation_sample(tiny_template(), talk("ABC", text), max_length=64) for text in ("x", "Yes", "xyz")]
    lengths = [len(sample.token_ids) for sample in samples]
    for members in pack(lengths, 20):
        batch = collate([samples[index] for index in members])
        for place, index in enumerate(members):
            own = batch.sequence_ids == place
            assert batch.token_ids[own].tolist() == list(samples[index].token_ids)
            assert batch.loss_mask[own].tolist() == list(samples[index].loss_mask)
            assert torch.equal(batch.position_ids[own], torch.arange(lengths[index]))
