"""What the engine asks of a decoder: a running batch whose rows join and leave at any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """A LoRA adapter beside the policy, y = W x + scaling · B A x, as rows may ask for it; identity is its digest."""

    digest: str
    scaling: float
    weights: Mapping[str, tuple[Tensor, Tensor]] = field(repr=False)
    """Name of the linear layer in the plain model (``model.layers.0.self_attn.q_proj``) → (A [r, in], B [out, r])."""


class Decoder(Protocol):
    """A running batch: rows join and leave at any time, every row has its own length; weights are read from the policy.

    The engine calls it under ``torch.inference_mode()`` with dropout off, and inside ``policy.autocast()``. A slot is a
    small number that names a row from ``add`` or ``fork`` until ``remove``; it may then be given to another row.
    After a call that raised, the engine removes every row; the decoder must be usable afterwards.
    """

    @property
    def name(self) -> str:
        """What it is, in words, for ``TorchSampler.execution``."""

    @property
    def vocab_size(self) -> int:
        """V, the width of the logits."""

    @property
    def can_extend(self) -> bool:
        """Whether ``extend`` works; if not, the engine feeds known tokens one a step through ``advance``."""

    @property
    def bytes_used(self) -> int:
        """Bytes of keys and values that are held now; 0 when no row is left, unless a buffer is kept for reuse."""

    def bytes_for(self, lengths: Sequence[int]) -> int:
        """An upper estimate of the cache bytes of rows of these lengths (prompt and room) held together."""

    def refresh(self) -> float:
        """Take the policy's weights as they are now (0.0 if nothing changed or storage is shared); seconds spent.

        Called while no row is there.
        """

    def load(self, adapter: Adapter) -> int:
        """Its index for ``add``; a row with it runs on the base *without* the policy's own adapter. Raises: ModelError.

        The engine calls it once a digest.
        """

    def add(
        self, prompts: Sequence[Sequence[int]], room: Sequence[int], adapters: Sequence[int]
    ) -> tuple[list[int], Tensor]:
        """Prefill (chunked; identical prompts and shared prefixes computed once).

        Returns the rows' slots in order, and the next token's logits [n, V] float32. ``room``: most new tokens per row
        that will be fed by ``advance`` and ``extend``; ``adapters``: index into the loaded adapters, -1 = the policy as
        it is. Rows share a prefix's keys and values only under the same adapter.
        """

    def advance(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Feed one token a row: [n], [n] int64 on the policy's device → the next token's logits [n, V] float32.

        ``slots`` may be a part of the rows, in any order; usually it is all of them, in the same order as last time.
        """

    def extend(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> Tensor:
        """Feed several known tokens a row in one forward; the logits after *each* of them, [Σ len, V] float32."""

    def remove(self, slots: Sequence[int]) -> None:
        """Give the rows' memory back."""

    def fork(self, slot: int) -> int:
        """The slot of a copy of a row (same prefix, same room), for n samples and search."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off inside the block; the mode from before afterwards."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
