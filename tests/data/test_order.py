"""The order of rows is a pure function of seed and epoch, and any step can be the first."""

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_rows import steady
from strop.data import batches_from, epoch_order, steps_per_epoch


@steady
@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 2**64 - 1), st.integers(0, 30))
def test_a_stream_from_any_step_equals_the_uninterrupted_one(
    num_rows: int, batch_size: int, seed: int, start: int
) -> None:
    whole = list(islice(batches_from(0, num_rows, batch_size, seed=seed), start + 5))
    assert list(islice(batches_from(start, num_rows, batch_size, seed=seed), 5)) == whole[start:]
    assert [step for step, _ in whole] == list(range(start + 5))


@steady
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 9))
def test_every_epoch_meets_every_row_once(num_rows: int, batch_size: int, epoch: int) -> None:
    size = steps_per_epoch(num_rows, batch_size)
    batches = list(islice(batches_from(epoch * size, num_rows, batch_size, seed=3), size))
    assert sorted(row for _, rows in batches for row in rows) == list(range(num_rows))
    assert all(len(rows) == batch_size for _, rows in batches[:-1])


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [tuple(epoch_order(100, epoch, seed)) for epoch in range(3) for seed in range(3)]
    assert len(set(orders)) == 9
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert epoch_order(100, 1, 2) == epoch_order(100, 1, 2)


def test_the_order_is_that_of_the_documented_generator_for_ever() -> None:
    # the first word of Random123's known answers for philox4x64-10 with counter and key 0; NumPy counts up first
    [word] = np.random.Philox(key=0, counter=2**256 - 1).random_raw(1)
    assert int(word) == 0x16554D9ECA36314C
    # recorded with NumPy 2.4.6
    assert epoch_order(8, 0, 0) == [0, 2, 1, 5, 4, 3, 6, 7]
    assert epoch_order(8, 1, 0) == [5, 3, 7, 2, 4, 1, 0, 6]


def test_every_row_is_as_likely_at_every_place() -> None:
    counts = np.zeros((5, 5))
    for seed in range(2000):
        for place, row in enumerate(epoch_order(5, 0, seed)):
            counts[place, row] += 1
    # each cell is binomial(2000, 1/5): mean 400, standard deviation 17.9; 5 deviations
    assert np.abs(counts - 400).max() < 90


def test_without_shuffling_rows_come_in_their_order() -> None:
    batches = list(islice(batches_from(1, 5, 2, seed=0, shuffle=False), 3))
    assert batches == [(1, [2, 3]), (2, [4]), (3, [0, 1])]
