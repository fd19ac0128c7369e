"""A key-value cache that is allocated once and written in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


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
