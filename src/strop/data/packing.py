"""Filling a context with whole sequences: which sequences lie together, never what is in them.

On the flat token axis a bin is only a list of sequences, each with its own positions and its own attention; packing
changes speed, not numbers.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from strop.errors import DataError


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of indices with at most ``capacity`` tokens each, by best-fit decreasing.

    The longest sequence comes first, each into the fullest bin that still has room for it. Every index lies in exactly
    one bin; bins and their members are in the order of the input. At most 11/9 of the best possible number of bins + 4
    (*Source*: Johnson 1974). O(n log n) comparisons. Raises: DataError if a sequence is longer than ``capacity``.
    """
    bins: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (tokens left, bin), ascending
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > capacity:
            raise DataError(
                f"a sequence of {length} tokens does not fit into {capacity}",
                where=f"sequence {index}",
                why="packing never cuts",
                do="truncate or split it first, or raise max_length",
            )
        fitting = bisect_left(rooms, (length, -1))
        room, number = rooms.pop(fitting) if fitting < len(rooms) else (capacity, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(index)
        insort(rooms, (room - length, number))
    return sorted(sorted(members) for members in bins)


def pieces(length: int, capacity: int) -> list[tuple[int, int]]:
    """Where a document of ``length`` tokens is cut: the fewest pieces [start, stop) of at most ``capacity`` tokens.

    Each piece begins with the last token of the piece before it, as context: so every token but the document's first is
    a target exactly once, and none is lost. Only documents longer than the context are cut (*Source*: Ding et al. 2024,
    "Fewer truncations improve language modeling", best-fit packing).
    """
    assert length > 0, length
    assert capacity > 1, capacity
    starts = range(0, max(length - 1, 1), capacity - 1)
    return [(start, min(start + capacity, length)) for start in starts]


def efficiency(lengths: Sequence[int], bins: Sequence[Sequence[int]], capacity: int) -> float:
    """The share of the bins' room that holds tokens, 0 to 1; 1 without bins."""
    return sum(lengths[index] for members in bins for index in members) / (len(bins) * capacity) if bins else 1.0
