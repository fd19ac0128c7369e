"""Which of the requests that wait enter the running batch now, and how much memory it may take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from strop.models import hardware

if TYPE_CHECKING:
    from collections import deque

    import torch

    from strop.sampling.requests import Row

_MIN_BYTES = 2**30
_MEMORY_SHARE = 0.25
_PREFILL_TOKENS = 2**15
_ADMIT_SHARE = 8  # a full batch takes newcomers once they are an eighth of it: each time costs a forward of its own


def num_fitting(
    waiting: deque[Row],
    running: Sequence[Row],
    *,
    max_rows: int,
    max_bytes: int,
    bytes_for: Callable[[Sequence[int]], int],
) -> int:
    """How many of those who wait enter, from the first on; ``bytes_for`` is the decoder's.

    Into an empty batch at least one does, however large. A prompt that equals the one before it is prefilled with it.
    """
    bound = min(len(waiting), max_rows - len(running))
    if bound <= 0:
        return 0
    held = [row.length for row in running]
    lengths: list[int] = []
    prefill: list[int] = []
    before: Sequence[int] | None = None
    for row in islice(waiting, bound):
        lengths.append(row.length)
        new = 0 if row.request.prompt == before else len(row.request.prompt)
        prefill.append((prefill[-1] if prefill else 0) + new)
        before = row.request.prompt
    low, high = 0, bound
    while low < high:
        middle = (low + high + 1) // 2
        fits = bytes_for([*held, *lengths[:middle]]) <= max_bytes
        if fits and (middle == 1 or prefill[middle - 1] <= _PREFILL_TOKENS):
            low = middle
        else:
            high = middle - 1
    if not running:
        return max(low, 1)
    return low if low >= min(len(waiting), -(-len(running) // _ADMIT_SHARE)) else 0


def default_cache_bytes(device: torch.device) -> int:
    """A quarter of the memory that is free now, at least one GiB."""
    return max(_MIN_BYTES, int(_MEMORY_SHARE * hardware.free_memory_bytes(device)))
