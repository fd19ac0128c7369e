"""A decoder without a model: logits that follow from the tokens before them by a rule; it counts what it is asked."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from strop.sampling.decoding import Adapter

Rule = Callable[[tuple[int, ...], int], Tensor]


def hashed(vocab_size: int, sharpness: float = 3.0) -> Rule:
    """Logits that are normal draws keyed by the tokens so far and the adapter."""

    def logits(token_ids: tuple[int, ...], adapter: int) -> Tensor:
        seed = zlib.crc32(repr((token_ids, adapter)).encode())
        return sharpness * torch.randn(vocab_size, generator=torch.Generator().manual_seed(seed))

    return logits


class ScriptedDecoder:
    """Implements ``Decoder`` with one list of tokens a row, a thousand bytes each."""

    name = "a script"

    def __init__(self, vocab_size: int, rule: Rule | None = None, *, can_extend: bool = False) -> None:
        self.vocab_size = vocab_size
        self.rule = rule or hashed(vocab_size)
        self.can_extend = can_extend
        self.rows: dict[int, list[int]] = {}
        self.adapters: dict[int, int] = {}
        self.calls: Counter[str] = Counter()
        self.widths: list[int] = []
        self.loaded: list[Adapter] = []
        self._next = 0

    @property
    def bytes_used(self) -> int:
        return 1000 * len(self.rows)

    def bytes_for(self, lengths: Sequence[int]) -> int:
        return sum(lengths)

    def refresh(self) -> float:
        assert not self.rows
        self.calls["refresh"] += 1
        return 0.25

    def load(self, adapter: Adapter) -> int:
        self.loaded.append(adapter)
        return len(self.loaded) - 1

    def add(
        self, prompts: Sequence[Sequence[int]], room: Sequence[int], adapters: Sequence[int]
    ) -> tuple[list[int], Tensor]:
        self.calls["add"] += 1
        slots = list(range(self._next, self._next + len(prompts)))
        self._next += len(prompts)
        self.rows |= {slot: list(prompt) for slot, prompt in zip(slots, prompts, strict=True)}
        self.adapters |= dict(zip(slots, adapters, strict=True))
        return slots, torch.stack([self._logits(slot) for slot in slots])

    def _logits(self, slot: int) -> Tensor:
        return self.rule(tuple(self.rows[slot]), self.adapters[slot])

    def advance(self, slots: Tensor, tokens: Tensor) -> Tensor:
        self.calls["advance"] += 1
        self.widths.append(len(slots))
        for slot, token in zip(slots.tolist(), tokens.tolist(), strict=True):
            self.rows[slot].append(token)
        return torch.stack([self._logits(slot) for slot in slots.tolist()])

    def extend(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> Tensor:
        assert self.can_extend
        self.calls["extend"] += 1
        found = []
        for slot, new in zip(slots, tokens, strict=True):
            for token in new:
                self.rows[slot].append(token)
                found.append(self._logits(slot))
        return torch.stack(found)

    def remove(self, slots: Sequence[int]) -> None:
        for slot in slots:
            del self.rows[slot]

    def fork(self, slot: int) -> int:
        self.rows[self._next] = list(self.rows[slot])
        self._next += 1
        return self._next - 1
