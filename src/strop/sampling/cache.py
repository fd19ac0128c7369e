"""A key-value cache that is allocated once and written in place, and whose rows can be chosen and joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """A full-attention layer whose keys and values live in a buffer of ``capacity`` positions.

    ``DynamicLayer`` copies everything it holds at every step; here a step writes one position and hands out a view.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate ``[B, H, capacity, D]`` for the shapes and dtype of the first states."""
        super().lazy_initialization(key_states, value_states)
        self.keys = key_states.new_empty(*key_states.shape[:2], self.capacity, key_states.shape[3])
        self.values = value_states.new_empty(*value_states.shape[:2], self.capacity, value_states.shape[3])

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new states behind the old ones; returns views of all states so far, ``[B, H, length, D]``."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        assert end <= self.capacity, f"{end} positions in a cache of {self.capacity}"
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Positions written so far."""
        return self.length

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order; a row may be named several times."""
        if self.is_initialized:
            self.keys = self._selected(self.keys, indices)
            self.values = self._selected(self.values, indices)

    def _selected(self, buffer: Tensor, indices: Tensor) -> Tensor:
        chosen = buffer.new_empty(len(indices), *buffer.shape[1:])
        # Only what was written is copied: the rest of the buffer is not worth the memory traffic.
        torch.index_select(buffer[:, :, : self.length], 0, indices, out=chosen[:, :, : self.length])
        return chosen


def make_cache(config: Any, capacity: int) -> Cache:
    """A cache for the model of ``config`` with room for ``capacity`` positions.

    Full-attention layers are preallocated; every other kind (sliding window, recurrent) is what ``transformers`` makes.
    """
    cache = DynamicCache(config=config)
    if not cache.layers:
        return cache
    cache.layers = [PreallocatedLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def select(cache: Cache, rows: Tensor) -> None:
    """Keep these rows, in this order; a row may be named several times."""
    for layer in cache.layers:
        if isinstance(layer, PreallocatedLayer):
            layer.batch_select_indices(rows)
        else:
            layer.reorder_cache(rows)


def size_bytes(cache: Cache) -> int:
    """What the tensors of a cache take, recurrent states included."""
    total = 0
    for layer in cache.layers:
        states = [getattr(layer, "keys", None), getattr(layer, "values", None)]
        for name in ("conv_states", "recurrent_states"):
            states += list((getattr(layer, name, None) or {}).values())
        total += sum(state.numel() * state.element_size() for state in states if isinstance(state, Tensor))
    return total


def can_join(cache: Cache) -> bool:
    """Whether rows of different prompts may be padded and put side by side: keys and values only, no running state."""
    return bool(cache.layers) and all(
        type(layer) in (PreallocatedLayer, DynamicSlidingWindowLayer) for layer in cache.layers
    )


def join(config: Any, caches: Sequence[Cache], rows: Sequence[Tensor], width: int, capacity: int) -> Cache:
    """One cache with the chosen ``rows`` of each, aligned at the right: ``width`` positions are written.

    Positions are added or dropped on the left; what is added is zero, and the caller's mask must hide it.
    """
    joined = make_cache(config, capacity)
    for index, layer in enumerate(joined.layers):
        parts = [(cache.layers[index], chosen) for cache, chosen in zip(caches, rows, strict=True)]
        if isinstance(layer, PreallocatedLayer):
            _fill(layer, parts, width, capacity)
            layer.length = width
        else:
            kept = min(width, layer.sliding_window - 1)
            _fill(layer, parts, kept, kept)
            layer.cumulative_length = width
    return joined


def _fill(layer: Any, parts: list[tuple[Any, Tensor]], width: int, capacity: int) -> None:
    first = parts[0][0].keys
    layer.lazy_initialization(first[:0], parts[0][0].values[:0])
    layer.keys = torch.cat([_aligned(part.keys, _written(part), rows, width, capacity) for part, rows in parts])
    layer.values = torch.cat([_aligned(part.values, _written(part), rows, width, capacity) for part, rows in parts])


def _written(layer: Any) -> int:
    return int(layer.length if isinstance(layer, PreallocatedLayer) else layer.keys.shape[2])


def _aligned(states: Tensor, written: int, rows: Tensor, width: int, capacity: int) -> Tensor:
    """[rows, H, capacity, D] whose first ``width`` positions end with what was written."""
    moved = states.new_empty(len(rows), states.shape[1], capacity, states.shape[3])
    kept = min(written, width)
    moved[:, :, : width - kept] = 0
    moved[:, :, width - kept : width] = states[rows, :, written - kept : written]
    return moved
