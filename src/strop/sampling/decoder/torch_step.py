"""A forward over single tokens in plain torch operations: any device, float32 or bfloat16 matrix products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from strop.sampling.decoder.low_rank import Adapters, Tasks, add_products
from strop.sampling.decoder.native import PAGE
from strop.sampling.decoder.pages import Pages, Plan, pages_for
from strop.sampling.decoder.weights import LayerWeights, Linear, Rotary, Weights

_MIN_SCORE = -1e30


@dataclass(frozen=True, eq=False)
class _Piece:
    """Rows of a similar number of tokens, padded to T tokens and P pages."""

    tokens: Tensor
    """[R, T] indices into the forward's tokens; padding repeats a row's last one."""
    is_real: Tensor
    """[R, T] bool."""
    pages: Tensor
    """[R, P] page numbers; padding repeats any."""
    positions: Tensor
    """[R, T]."""


class TorchStep:
    """Runs tokens through all layers; the same pages as ``NativeStep``, gathered for torch's own products."""

    name = "torch operations"

    def __init__(self, weights: Weights, pages: Pages, rotary: Rotary, adapters: Adapters) -> None:
        self._weights = weights
        self._pages = pages
        self._rotary = rotary
        self._adapters = adapters

    def run(self, token_ids: Tensor, plan: Plan, tasks: Tasks | None) -> Tensor:
        """The hidden states [N, H] after the last norm; written keys and values stay in the pages."""
        x = self._weights.shape.embed(token_ids).float()
        device = x.device
        positions = torch.from_numpy(plan.positions).to(device)
        at = plan.positions // PAGE
        written = torch.from_numpy(self._pages.table[plan.rows, at]).to(device), positions % PAGE
        pieces = list(self._pieces(plan, device))
        for number, w in enumerate(self._weights.layers):

            def low_rank(point: str, x: Tensor, y: Tensor, number: int = number) -> Tensor:
                if tasks is not None:
                    add_products(x, y, self._adapters.pieces((number, point)), tasks)
                return y

            x = self._layer(w, number, x, positions, written, pieces, low_rank)
        return _rms(x, *self._weights.final_norm)

    def logits(self, hidden: Tensor) -> Tensor:
        """The head's product."""
        return self._weights.head(hidden)

    def _layer(
        self,
        w: LayerWeights,
        number: int,
        x: Tensor,
        positions: Tensor,
        written: tuple[Tensor, Tensor],
        pieces: list[_Piece],
        low_rank: Callable[[str, Tensor, Tensor], Tensor],
    ) -> Tensor:
        def branch(point: str, linear: Linear, inputs: Tensor, after: str) -> Tensor:
            found = low_rank(point, inputs, linear(inputs))
            return _rms(found, *w.norms[after]) if after in w.norms else found

        normed = _rms(x, *w.norms["attention"])
        qkv = low_rank("qkv", normed, w.qkv(normed))
        x = x + branch("out", w.out, self._attention(w, number, qkv, positions, written, pieces), "after_attention")
        normed = _rms(x, *w.norms["mlp"])
        gate, up = low_rank("gate_up", normed, w.gate_up(normed)).chunk(2, dim=-1)
        is_silu = self._weights.shape.activation == "silu"
        gated = (functional.silu(gate) if is_silu else functional.gelu(gate, approximate="tanh")) * up
        return x + branch("down", w.down, gated, "after_mlp")

    def _attention(
        self,
        w: LayerWeights,
        number: int,
        qkv: Tensor,
        positions: Tensor,
        written: tuple[Tensor, Tensor],
        pieces: list[_Piece],
    ) -> Tensor:
        shape = self._weights.shape
        count, size = len(qkv), shape.head_size
        query, key, value = torch.split(qkv.view(count, -1, size), [shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
        query = _rms(query, *w.query_norm) if w.query_norm else query
        key = _rms(key, *w.key_norm) if w.key_norm else key
        cosines, sines = (table[positions, None] for table in self._rotary.tables[w.layer.rotary_kind])
        query, key = _rotated(query, cosines, sines), _rotated(key, cosines, sines)
        self._write(number, key, value, written)
        found = torch.empty_like(query)
        for piece in pieces:
            attended = self._attend(w, number, query[piece.tokens], piece)
            found[piece.tokens[piece.is_real]] = attended[piece.is_real]
        return found.view(count, -1)

    def _write(self, number: int, key: Tensor, value: Tensor, written: tuple[Tensor, Tensor]) -> None:
        page, at = written
        keys, values = self._parts(self._pages.arena[number])
        keys[page, :, :, at] = key.to(keys.dtype)
        values[page, :, at, : key.shape[-1]] = value.to(values.dtype)

    def _parts(self, pages: Tensor) -> tuple[Tensor, Tensor]:
        """Views of keys [..., heads, size, 16] and values [..., heads, 16, padded size]."""
        size = self._weights.shape.head_size
        keys, values = torch.split(pages, [PAGE * size, PAGE * self._pages.padded], dim=-1)
        return keys.view(*keys.shape[:-1], size, PAGE), values.view(*values.shape[:-1], PAGE, self._pages.padded)

    def _attend(self, w: LayerWeights, number: int, query: Tensor, piece: _Piece) -> Tensor:
        """[R, T, heads, size] queries over their rows' pages."""
        shape, layer = self._weights.shape, w.layer
        rows, length = piece.tokens.shape
        keys, values = self._parts(self._pages.arena[number][piece.pages])
        keys = keys.permute(0, 2, 3, 1, 4).flatten(3)
        values = values[..., : shape.head_size].transpose(1, 2).flatten(2, 3)
        query = query.view(rows, length, shape.kv_heads, -1, shape.head_size).permute(0, 2, 3, 1, 4).flatten(2, 3)
        scores = (query.to(keys.dtype) @ keys).float() * layer.scale
        if layer.softcap:
            scores = layer.softcap * torch.tanh(scores / layer.softcap)
        steps = torch.arange(scores.shape[-1], device=scores.device)
        ends = piece.positions[..., None]
        seen = steps <= ends
        if layer.window:
            seen &= steps > ends - layer.window
        groups = shape.heads // shape.kv_heads
        seen = seen[:, None, None].expand(rows, 1, groups, length, len(steps)).flatten(2, 3)
        weights = scores.masked_fill(~seen, _MIN_SCORE).softmax(-1)
        # What lies behind a row's last token was never written: 0 times garbage may be NaN.
        is_written = (steps <= piece.positions.max(-1, keepdim=True).values)[:, None, :, None]
        values = values.masked_fill(~is_written, 0.0)
        found = (weights.to(values.dtype) @ values).float()
        found = found.view(rows, shape.kv_heads, groups, length, shape.head_size)
        return found.permute(0, 3, 1, 2, 4).reshape(rows, length, shape.heads, shape.head_size)

    def _pieces(self, plan: Plan, device: torch.device) -> Iterator[_Piece]:
        """The forward's tokens by row, rows of about as many tokens together."""
        slots, counts = np.unique(plan.rows, return_counts=True)
        order = np.argsort(plan.rows, kind="stable")
        starts = np.cumsum(counts) - counts
        classes = np.ceil(np.log2(counts)).astype(int)
        for kind in np.unique(classes):
            chosen = np.flatnonzero(classes == kind)
            width = int(counts[chosen].max())
            steps = np.arange(width)
            tokens = order[starts[chosen][:, None] + np.minimum(steps, counts[chosen][:, None] - 1)]
            num_pages = pages_for(int(plan.positions[tokens].max()) + 1)
            yield _Piece(
                torch.from_numpy(tokens).to(device),
                torch.from_numpy(steps < counts[chosen][:, None]).to(device),
                torch.from_numpy(self._pages.table[slots[chosen], :num_pages]).to(device),
                torch.from_numpy(plan.positions[tokens]).to(device),
            )


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return functional.rms_norm(x, x.shape[-1:], weight, eps)


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines
