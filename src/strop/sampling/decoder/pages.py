"""Keys and values in pages of sixteen positions, counted, shared between rows with one prefix, and given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from strop.sampling.decoder.native import PAGE, QUERIES

_KEPT_BYTES = 2**28
"""An arena of at most this size is kept for reuse when no row is left: fresh memory is dear."""
_MIN_PAGES = 64
Ints = NDArray[np.int64]


def pages_for(length: int) -> int:
    """Pages that hold ``length`` positions."""
    return -(-length // PAGE)


@dataclass(frozen=True)
class Plan:
    """The tokens of one forward: row and position of each, and the blocks that share a pass over common pages."""

    rows: Ints
    positions: Ints
    order: Ints
    """Token indices, those of a block side by side."""
    block_starts: Ints
    """[blocks + 1] into ``order``."""
    block_shared: Ints
    """Leading pages, all full, that the tokens of the block have in common."""


@dataclass
class _Row:
    adapter: int
    length: int = 0
    pages: list[int] = field(default_factory=list)


class Pages:
    """An arena [layers, pages, kv heads, floats of a page] and the rows that live in it.

    A page holds the keys of one head as [head size, 16] and then its values as [16, padded size]. Full pages of prompts
    are known by what they hold (all tokens up to their end, and the adapter): a later row with the same beginning
    shares them. Only the last, partly filled page of a row is ever written, so that shared pages never change.
    """

    def __init__(self, layers: int, kv_heads: int, head_size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.padded = -(-head_size // PAGE) * PAGE
        self._shape = (layers, 0, kv_heads, PAGE * (head_size + self.padded))
        self.arena = torch.empty(self._shape, dtype=dtype, device=device)
        self.table: Ints = np.zeros((16, 16), dtype=np.int64)
        self.generation = 0
        """Counts the moves of arena or table."""
        self._rows: dict[int, _Row] = {}
        self._free_slots: list[int] = []
        self._free: list[int] = []
        self._counts: list[int] = []
        self._known: dict[tuple[int, int, tuple[int, ...]], int] = {}
        self._key_of: dict[int, tuple[int, int, tuple[int, ...]]] = {}

    @property
    def page_bytes(self) -> int:
        """Of all layers."""
        return self._shape[0] * self._shape[2] * self._shape[3] * self.arena.element_size()

    @property
    def bytes_used(self) -> int:
        """Of the pages that rows hold; a shared page counts once."""
        return (len(self._counts) - len(self._free)) * self.page_bytes

    def length(self, slot: int) -> int:
        """Positions written."""
        return self._rows[slot].length

    def adapter(self, slot: int) -> int:
        """Of the row."""
        return self._rows[slot].adapter

    def slots(self) -> list[int]:
        """Of the rows that live now."""
        return list(self._rows)

    # ------------------------------------------------------------------------------------------------ rows come and go

    def open(self, prompt: Sequence[int], adapter: int) -> tuple[int, int]:
        """A new row with pages for its prompt; its slot, and how many of the first positions are there already.

        The page of the last prompt token is never shared here: at least one token is left to compute.
        """
        slot = self._free_slots.pop() if self._free_slots else len(self._rows)
        row = self._rows[slot] = _Row(adapter)
        self._widen(slot + 1, pages_for(len(prompt)))
        known, parent = 0, -1
        for page in range((len(prompt) - 1) // PAGE):
            key = (parent, adapter, tuple(prompt[page * PAGE : (page + 1) * PAGE]))
            found = self._known.get(key)
            if found is None:
                found = self._take()
                self._known[key], self._key_of[found] = found, key
                self._counts[found] = 0
            elif known == page:
                known += 1
            self._counts[found] += 1
            self._append(slot, row, found)
            parent = found
        self._fill(slot, row, len(prompt))
        return slot, known * PAGE

    def grow(self, slots: Sequence[int], lengths: Sequence[int]) -> None:
        """Count these positions as written, taking pages where they are needed."""
        for slot, length in zip(slots, lengths, strict=True):
            row = self._rows[slot]
            if length > len(row.pages) * PAGE:
                self._fill(slot, row, length)
            row.length = length

    def fork(self, slot: int) -> int:
        """A copy of the row: full pages are shared, the last one is copied."""
        source = self._rows[slot]
        new = self._free_slots.pop() if self._free_slots else len(self._rows)
        row = self._rows[new] = _Row(source.adapter, source.length)
        self._widen(new + 1, len(source.pages))
        full = source.length // PAGE
        for page in source.pages[:full]:
            self._counts[page] += 1
            self._append(new, row, page)
        for page in source.pages[full:]:
            self._append(new, row, self._take())
            self.arena[:, row.pages[-1]] = self.arena[:, page]
        return new

    def remove(self, slots: Sequence[int]) -> None:
        """Give the rows' pages back."""
        for slot in slots:
            for page in self._rows.pop(slot).pages:
                self._counts[page] -= 1
                if self._counts[page] == 0:
                    self._free.append(page)
                    key = self._key_of.pop(page, None)
                    if key is not None:
                        del self._known[key]
            self._free_slots.append(slot)
        if not self._rows:
            self._free_slots.clear()
            if self.arena.numel() * self.arena.element_size() > _KEPT_BYTES:
                self.arena = torch.empty(self._shape, dtype=self.arena.dtype, device=self.arena.device)
                self._counts, self._free = [], []
                self.generation += 1

    def reserve(self, pages: int) -> None:
        """Make room for that many more pages at once."""
        missing = pages - len(self._free)
        if missing > 0:
            self._enlarge(len(self._counts) + missing)

    def _take(self) -> int:
        if not self._free:
            self._enlarge(max(_MIN_PAGES, len(self._counts) * 3 // 2))
        page = self._free.pop()
        self._counts[page] = 1
        return page

    def _enlarge(self, pages: int) -> None:
        layers, _, heads, floats = self._shape
        before = len(self._counts)
        arena = torch.empty((layers, pages, heads, floats), dtype=self.arena.dtype, device=self.arena.device)
        arena[:, :before] = self.arena
        self.arena = arena
        self._counts += [0] * (pages - before)
        self._free += range(pages - 1, before - 1, -1)
        self.generation += 1

    def _fill(self, slot: int, row: _Row, length: int) -> None:
        self._widen(slot + 1, pages_for(length))
        while len(row.pages) < pages_for(length):
            self._append(slot, row, self._take())

    def _append(self, slot: int, row: _Row, page: int) -> None:
        self.table[slot, len(row.pages)] = page
        row.pages.append(page)

    def _widen(self, rows: int, pages: int) -> None:
        height, width = self.table.shape
        if rows > height or pages > width:
            table = np.zeros((max(rows, height * (2 if rows > height else 1)), max(pages, width)), dtype=np.int64)
            if pages > width:
                table = np.zeros((table.shape[0], max(pages, 2 * width)), dtype=np.int64)
            table[:height, :width] = self.table
            self.table = table
            self.generation += 1

    # ---------------------------------------------------------------------------------------------- plans of a forward

    def one_each(self, slots: Sequence[int]) -> Plan:
        """The next token of each row; rows with a common prefix are put into blocks."""
        rows = [self._rows[slot] for slot in slots]
        shared = [tuple(self._shared(row)) for row in rows]
        order = sorted(range(len(rows)), key=lambda i: shared[i])
        starts, common = _blocks([shared[i] for i in order])
        return Plan(
            np.array(slots, dtype=np.int64),
            np.array([row.length for row in rows], dtype=np.int64),
            np.array(order, dtype=np.int64),
            np.array([*starts, len(rows)], dtype=np.int64),
            np.array(common, dtype=np.int64),
        )

    def _shared(self, row: _Row) -> list[int]:
        pages = row.pages[: row.length // PAGE]
        end = next((i for i, page in enumerate(pages) if self._counts[page] == 1), len(pages))
        return pages[:end]

    @staticmethod
    def stretches(stretches: Sequence[tuple[int, int, int]]) -> Plan:
        """The tokens of (slot, first position, end) each, in this order."""
        rows: list[int] = []
        positions: list[int] = []
        starts, shared = [], []
        for slot, first, end in stretches:
            for start in range(first, end, QUERIES):
                starts.append(len(rows) + start - first)
                shared.append(start // PAGE)
            rows += [slot] * (end - first)
            positions += range(first, end)
        return Plan(
            np.array(rows, dtype=np.int64),
            np.array(positions, dtype=np.int64),
            np.arange(len(rows), dtype=np.int64),
            np.array([*starts, len(rows)], dtype=np.int64),
            np.array(shared, dtype=np.int64),
        )


def _blocks(shared: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Where blocks of sorted rows start, and how many leading pages each has in common."""
    starts: list[int] = []
    common: list[int] = []
    for i, pages in enumerate(shared):
        if starts and 0 < i - starts[-1] < QUERIES:
            with_last = _num_common(shared[i - 1], pages)
            if with_last and (i - starts[-1] == 1 or with_last >= common[-1]):
                common[-1] = with_last if i - starts[-1] == 1 else common[-1]
                continue
        starts.append(i)
        common.append(0)
    return starts, common


def _num_common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    if a == b:
        return len(a)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
