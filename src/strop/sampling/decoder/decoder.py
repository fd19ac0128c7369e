"""The hand-written decoder: a running batch over paged keys and values for models of the Llama shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from strop.sampling.decoder.low_rank import Adapters, Tasks
from strop.sampling.decoder.native import PAGE, Kernels
from strop.sampling.decoder.native_step import NativeStep
from strop.sampling.decoder.pages import Pages, Plan, pages_for
from strop.sampling.decoder.shape import Shape
from strop.sampling.decoder.torch_step import TorchStep
from strop.sampling.decoder.weights import Rotary, Weights
from strop.sampling.decoding import Adapter

if TYPE_CHECKING:
    from strop.models import Policy

_CHUNK_TOKENS = 1024
"""Tokens of one forward while prompts are computed."""


class FastDecoder:
    """Implements ``strop.sampling.decoding.Decoder``; made by ``probe``, which proves it on the model at hand.

    The policy's own LoRA is folded into the fused weights at every refresh, until a first adapter is loaded beside it:
    from then on the matrices are the base's, and the own adapter is one low-rank product among the others.
    """

    can_extend = True

    def __init__(self, policy: Policy, shape: Shape, kernels: Kernels | str) -> None:
        self.vocab_size = shape.vocab_size
        self._policy = policy
        self._shape = shape
        self._dtype = policy.dtype
        self._weights = Weights(shape, policy.dtype)
        self._rotary = Rotary(shape, policy.max_length)
        held = torch.float32 if policy.device.type == "cpu" else policy.dtype
        self._pages = Pages(len(shape.layers), shape.kv_heads, shape.head_size, held, policy.device)
        self._adapters = Adapters(shape)
        parts = (self._weights, self._pages, self._rotary, self._adapters)
        is_native = isinstance(kernels, Kernels) and policy.device.type == "cpu"
        self._step = NativeStep(kernels, *parts) if is_native and isinstance(kernels, Kernels) else TorchStep(*parts)
        # Why there are no kernels is told only where they would have been used.
        why = f" ({kernels})" if isinstance(kernels, str) and policy.device.type == "cpu" else ""
        self.name = f"the hand-written {policy.model.config.model_type} step with {self._step.name}{why}"
        self._slots: tuple[int, ...] = ()
        self._plan: Plan | None = None
        self._tasks: Tasks | None = None
        self.refresh()

    @property
    def bytes_used(self) -> int:
        """Of the pages that rows hold; a page that several rows share counts once."""
        return self._pages.bytes_used

    def bytes_for(self, lengths: Sequence[int]) -> int:
        """Of rows that share nothing."""
        return self._pages.page_bytes * sum(pages_for(length) for length in lengths)

    def refresh(self) -> float:
        """Fuse the policy's weights anew if they changed; seconds spent."""
        seconds = self._weights.refresh()
        if seconds and not self._weights.folds_adapter:
            self._adapters.set_own(self._weights.own)
        self._plan = None
        return seconds

    def load(self, adapter: Adapter) -> int:
        """Its index for ``add``. Raises: ModelError."""
        self._settle()  # the rows that run get the policy's own adapter as a product from the next token on
        index = self._adapters.load(adapter)
        if self._weights.folds_adapter:
            self._weights.folds_adapter = False
            self._weights.refresh()
            self._adapters.set_own(self._weights.own)
        return index

    def add(
        self, prompts: Sequence[Sequence[int]], room: Sequence[int], adapters: Sequence[int]
    ) -> tuple[list[int], Tensor]:
        """See ``Decoder.add``; beginnings that live rows have already are not computed again."""
        self._settle()  # the rows that run keep the lengths that the running plan counted
        keys = list(zip(adapters, map(tuple, prompts), strict=True))
        distinct = list(dict.fromkeys(keys))
        self._pages.reserve(sum(pages_for(len(p) + r) for p, r in zip(prompts, room, strict=True)))
        before = set(self._pages.slots())
        try:
            opened = [self._pages.open(prompt, adapter) for adapter, prompt in distinct]
            logits = self._prefill(
                [(slot, known, prompt) for (slot, known), (_, prompt) in zip(opened, distinct, strict=True)]
            )
            found = {key: slot for key, (slot, _) in zip(distinct, opened, strict=True)}
            slots = self._one_each([found[key] for key in keys])
        except BaseException:
            self._pages.remove([slot for slot in self._pages.slots() if slot not in before])
            raise
        if len(distinct) < len(keys):
            rows = {key: i for i, key in enumerate(distinct)}
            logits = logits[torch.tensor([rows[key] for key in keys], device=logits.device)]
        return slots, logits

    def _one_each(self, slots: Sequence[int]) -> list[int]:
        """These slots, with a copy of the row in place of each repetition."""
        used: set[int] = set()
        found = []
        for slot in slots:
            found.append(self._pages.fork(slot) if slot in used else slot)
            used.add(slot)
        return found

    def _prefill(self, stretches: Sequence[tuple[int, int, tuple[int, ...]]]) -> Tensor:
        """The logits after each prompt; ``stretches``: (slot, positions known already, prompt)."""
        found = []
        for piece in _pieces(stretches):
            hidden = self._forward(piece, [prompt for _, _, prompt in stretches], [slot for slot, _, _ in stretches])
            lengths = np.cumsum([end - first for _, first, end in piece])
            whole = dict(zip((slot for slot, _, _ in stretches), (len(p) for _, _, p in stretches), strict=True))
            last = [int(at) - 1 for at, (slot, _, end) in zip(lengths, piece, strict=True) if end == whole[slot]]
            if last:
                found.append(self._logits(hidden[torch.tensor(last, device=hidden.device)]))
        return torch.cat(found)

    def _forward(
        self, piece: Sequence[tuple[int, int, int]], prompts: Sequence[tuple[int, ...]], slots: Sequence[int]
    ) -> Tensor:
        by_slot = dict(zip(slots, prompts, strict=True))
        token_ids = [token for slot, first, end in piece for token in by_slot[slot][first:end]]
        return self._stretches(piece, token_ids)

    def _stretches(self, piece: Sequence[tuple[int, int, int]], token_ids: Sequence[int]) -> Tensor:
        self._pages.grow([slot for slot, _, _ in piece], [end for _, _, end in piece])
        plan = self._pages.stretches(piece)
        adapters = np.repeat([self._pages.adapter(s) for s, _, _ in piece], [end - first for _, first, end in piece])
        return self._run(torch.tensor(token_ids, device=self._policy.device), plan, self._adapters.tasks(adapters))

    def advance(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """See ``Decoder.advance``."""
        named = tuple(slots.tolist())
        plan = self._next_plan(named)
        with_room = plan.positions + 1
        if (plan.positions % PAGE == 0).any():
            self._pages.grow(named, with_room.tolist())
        logits = self._logits(self._run(tokens, plan, self._tasks))
        np.add(plan.positions, 1, out=plan.positions)
        return logits

    def _next_plan(self, slots: tuple[int, ...]) -> Plan:
        """The plan of last time moved on by one token, or a new one where the rows are others."""
        if self._plan is None or slots != self._slots:
            self._settle()
            self._plan = self._pages.one_each(slots)
            self._slots = slots
            self._tasks = self._adapters.tasks(np.array([self._pages.adapter(slot) for slot in slots], dtype=np.int64))
        return self._plan

    def _settle(self) -> None:
        """Tell the pages how long the rows of the running plan have become."""
        if self._plan is not None:
            self._pages.grow(self._slots, self._plan.positions.tolist())
            self._plan = None

    def extend(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> Tensor:
        """See ``Decoder.extend``."""
        self._settle()
        starts = [self._pages.length(slot) for slot in slots]
        pieces = [(slot, at, at + len(t)) for slot, at, t in zip(slots, starts, tokens, strict=True)]
        return self._logits(self._stretches(pieces, [token for row in tokens for token in row]))

    def remove(self, slots: Sequence[int]) -> None:
        """See ``Decoder.remove``."""
        self._settle()
        self._pages.remove(slots)

    def fork(self, slot: int) -> int:
        """See ``Decoder.fork``; full pages are shared, not copied."""
        self._settle()
        return self._pages.fork(slot)

    def _run(self, token_ids: Tensor, plan: Plan, tasks: Tasks | None) -> Tensor:
        self._rotary.reserve(int(plan.positions.max()) + 1)
        with _plainly(self._policy.device.type):
            return self._step.run(token_ids, plan, tasks)

    def _logits(self, hidden: Tensor) -> Tensor:
        with _plainly(self._policy.device.type):
            logits = self._step.logits(hidden)
        cap = self._shape.logit_softcap
        return cap * torch.tanh(logits / cap) if cap else logits


def _pieces(stretches: Sequence[tuple[int, int, tuple[int, ...]]]) -> Iterator[list[tuple[int, int, int]]]:
    """Chunks of at most ``_CHUNK_TOKENS`` tokens, each a list of (slot, first position, end), in order."""
    piece: list[tuple[int, int, int]] = []
    room = _CHUNK_TOKENS
    for slot, known, prompt in stretches:
        first = known
        while first < len(prompt):
            end = min(len(prompt), first + room)
            piece.append((slot, first, end))
            room -= end - first
            first = end
            if room == 0:
                yield piece
                piece, room = [], _CHUNK_TOKENS
    if piece:
        yield piece


@contextmanager
def _plainly(device_type: str) -> Iterator[None]:
    """Within it, autocast is off: the step chooses the dtype of each product itself."""
    if not torch.is_autocast_enabled(device_type):
        yield
        return
    with torch.autocast(device_type, enabled=False):
        yield
