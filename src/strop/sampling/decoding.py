"""What the engine asks of a decoder: a running batch whose rows join and leave at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """A running batch: rows join and leave at any time, every row has its own length; weights are read from the policy.

    The engine calls it under ``torch.inference_mode()`` with dropout off, and inside ``policy.autocast()``. A slot is a
    small number that names a row from ``add`` or ``fork`` until ``remove``; it may then be given to another row.
    A call that raises leaves the rows that were there before it as they were, or the engine removes them all.
    """

    @property
    def vocab_size(self) -> int:
        """V, the width of the logits."""

    @property
    def bytes_used(self) -> int:
        """Bytes of keys and values that are held now; 0 when no row is left, unless a buffer is kept for reuse."""

    def bytes_for(self, num_tokens: int) -> int:
        """An upper estimate of the cache bytes of one row of ``num_tokens`` (prompt and room): admission counts it."""

    def refresh(self) -> float:
        """Take the policy's weights as they are now (0.0 if nothing changed or storage is shared); seconds spent."""

    def add(
        self, prompts: Sequence[Sequence[int]], room: Sequence[int], adapters: Sequence[int]
    ) -> tuple[list[int], Tensor]:
        """Prefill (chunked; identical prompts and shared prefixes computed once).

        Returns the rows' slots in order, and the next token's logits [n, V] float32. ``room``: most new tokens per row
        that will be fed by ``advance`` and ``extend``; ``adapters``: index into the loaded adapters, -1 = the policy as
        it is.
        """

    def advance(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Feed one token a row: [n], [n] int64 on the policy's device → the next token's logits [n, V] float32.

        ``slots`` may be a part of the rows, in any order.
        """

    def extend(self, slot: int, tokens: Sequence[int]) -> Tensor:
        """Feed several known tokens to one row in one forward; the logits [V] float32 after the last of them."""

    def remove(self, slots: Sequence[int]) -> None:
        """Give the rows' memory back."""

    def fork(self, slot: int) -> int:
        """The slot of a copy of a row (same prefix, same room), for n samples and search."""
