"""The order of rows, a function of (seed, epoch) alone: a run goes on from any step without drawing the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def epoch_order(num_rows: int, epoch: int, seed: int) -> list[int]:
    """A permutation of ``range(num_rows)`` for this epoch, uniform and independent of every other epoch's.

    The rows are sorted by one 64-bit word each from the counter-based generator Philox4x64-10 with key ``(seed,
    epoch)``. Its raw words are part of NumPy's compatibility promise, which ``Generator.permutation`` is not, so a
    resumed run meets the same order under another NumPy. *Source*: Salmon et al. 2011, "Parallel random numbers: as
    easy as 1, 2, 3".
    """
    assert num_rows > 0 <= epoch, (num_rows, epoch)
    assert 0 <= seed < 2**64, seed
    words = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(num_rows)
    return [int(row) for row in np.argsort(words, kind="stable")]


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """How many batches an epoch has; its last one may be smaller."""
    return -(-num_rows // batch_size)


def batches_from(
    start: int, num_rows: int, batch_size: int, *, seed: int, shuffle: bool = True
) -> Iterator[tuple[int, list[int]]]:
    """Endless (step, row indices) from the step ``start`` (0-based) on: what an uninterrupted run would meet there.

    An epoch's last batch holds what is left, so that no row comes twice within an epoch. After ``(step, rows)`` the
    stream stands at ``step + 1``: that number is its cursor.
    """
    per_epoch = steps_per_epoch(num_rows, batch_size)
    step = start
    while True:
        epoch, skipped = divmod(step, per_epoch)
        order = epoch_order(num_rows, epoch, seed) if shuffle else list(range(num_rows))
        for first in range(skipped * batch_size, num_rows, batch_size):
            yield step, order[first : first + batch_size]
            step += 1
