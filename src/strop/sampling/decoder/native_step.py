"""A forward over single tokens with the compiled kernels: nine calls a layer, all bound once a number of tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import addressof
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from strop.sampling.decoder import native
from strop.sampling.decoder.low_rank import Adapters, Tasks
from strop.sampling.decoder.native import Kernels, address
from strop.sampling.decoder.pages import Ints, Pages, Plan
from strop.sampling.decoder.weights import LayerWeights, Linear, Rotary, Weights

_KEPT = 512
"""Numbers of tokens whose bindings are kept."""


_Product = Callable[[Tensor, Tensor], Tensor]
"""``product(x, out)``: the result, in ``out`` or in a new tensor."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer bound to the buffers: pointers to structs, and what the matrix products read and write."""

    norm: int
    qkv: _Product
    attention: native.Attention
    out: _Product
    after_attention: native.Norm | None
    norm_mlp: int
    gate_up: _Product
    gate: native.Gate
    down: _Product
    after_mlp: native.Norm | None


@dataclass(frozen=True, eq=False)
class _Buffers:
    x: Tensor
    normed: Tensor
    qkv: Tensor
    attended: Tensor
    gate_up: Tensor
    gated: Tensor
    branch: Tensor

    def first(self, count: int) -> _Buffers:
        return _Buffers(**{name: getattr(self, name)[:count] for name in vars(self)})


@dataclass(frozen=True, eq=False)
class _Bound:
    buffers: _Buffers
    layers: tuple[_Layer, ...]
    final_norm: int
    keep: list[Any]
    """The structs and tensors that the pointers point at."""


class NativeStep:
    """Runs tokens through all layers; float32 on a CPU."""

    name = "compiled kernels"

    def __init__(self, kernels: Kernels, weights: Weights, pages: Pages, rotary: Rotary, adapters: Adapters) -> None:
        self._kernels = kernels
        self._weights = weights
        self._pages = pages
        self._rotary = rotary
        self._adapters = adapters
        self._tokens = native.Tokens()
        self._bound: dict[int, _Bound] = {}
        self._state: object = None
        self._plan: Plan | None = None
        self._tasks: Tasks | None = None
        self._low_rank: dict[tuple[int, str], tuple[native.LowRank, list[Any]]] = {}

    def run(self, token_ids: Tensor, plan: Plan, tasks: Tasks | None) -> Tensor:
        """The hidden states [N, H] after the last norm; written keys and values stay in the pages."""
        count = len(token_ids)
        bound = self._bind(count)
        self._follow(plan)
        if tasks is not self._tasks or (tasks is not None and not self._low_rank):
            self._follow_tasks(tasks)
        torch.index_select(self._embedding, 0, token_ids, out=bound.buffers.x) if self._embedding is not None else (
            bound.buffers.x.copy_(self._weights.shape.embed(token_ids))
        )
        self._layers(bound)
        self._kernels.normalise(bound.final_norm)
        return bound.buffers.normed

    def _layers(self, bound: _Bound) -> None:
        b, kernels, tasks = bound.buffers, self._kernels, self._tasks
        for number, layer in enumerate(bound.layers):
            kernels.normalise(layer.norm)
            qkv = layer.qkv(b.normed, b.qkv)
            if tasks is not None:
                self._add(number, "qkv", b.normed, qkv)
            layer.attention.qkv = qkv.data_ptr()
            kernels.attention(addressof(layer.attention))
            self._residual(number, "out", layer.out, b.attended, b, layer.after_attention)
            kernels.normalise(layer.norm_mlp)
            gate_up = layer.gate_up(b.normed, b.gate_up)
            if tasks is not None:
                self._add(number, "gate_up", b.normed, gate_up)
            layer.gate.x = gate_up.data_ptr()
            kernels.gate(addressof(layer.gate))
            self._residual(number, "down", layer.down, b.gated, b, layer.after_mlp)

    def _residual(
        self, number: int, point: str, linear: _Product, x: Tensor, b: _Buffers, norm: native.Norm | None
    ) -> None:
        """Add ``linear(x)``, normalised where the family does that, to the stream."""
        if norm is None:
            b.x.add_(linear(x, b.branch))
            if self._tasks is not None:
                self._add(number, point, x, b.x)
            return
        branch = linear(x, b.branch)
        if self._tasks is not None:
            self._add(number, point, x, branch)
        norm.x = branch.data_ptr()
        self._kernels.normalise(addressof(norm))

    # ------------------------------------------------------------------------------------------------------ bindings

    def _bind(self, count: int) -> _Bound:
        state = (
            self._weights.generation,
            self._pages.generation,
            self._rotary.length,
            torch.get_num_threads(),
        )
        if state != self._state:
            self._bound.clear()
            self._state = state
            self._plan = None
            self._embedding = _plain_embedding(self._weights.shape.embed)
            self._buffers = self._allocate(max(count, 64))
        if count > len(self._buffers.x):
            self._bound.clear()
            self._buffers = self._allocate(count)
        if count not in self._bound:
            if len(self._bound) >= _KEPT:
                self._bound.clear()
            self._bound[count] = self._make(count)
        return self._bound[count]

    def _allocate(self, count: int) -> _Buffers:
        shape = self._weights.shape
        queries = shape.heads * shape.head_size
        width = queries + 2 * shape.kv_heads * shape.head_size
        sizes = (shape.hidden, shape.hidden, width, queries, 2 * shape.feed_forward, shape.feed_forward, shape.hidden)
        return _Buffers(*(torch.empty(count, size) for size in sizes))

    def _make(self, count: int) -> _Bound:
        buffers = self._buffers.first(count)
        keep: list[Any] = []
        layers = tuple(
            self._layer(weights, number, count, buffers, keep) for number, weights in enumerate(self._weights.layers)
        )
        final = addressof(self._norm(self._weights.final_norm, buffers.x, buffers.normed, keep))
        return _Bound(buffers, layers, final, keep)

    def _layer(self, w: LayerWeights, number: int, count: int, b: _Buffers, keep: list[Any]) -> _Layer:
        gate = native.Gate(
            rows=count,
            size=self._weights.shape.feed_forward,
            gelu=int(self._weights.shape.activation == "gelu_tanh"),
            x=address(b.gate_up),
            out=address(b.gated),
            threads=torch.get_num_threads(),
        )
        after = {
            name: self._norm(w.norms[name], b.branch, b.x, keep, add=1) if name in w.norms else None
            for name in ("after_attention", "after_mlp")
        }
        return _Layer(
            norm=addressof(self._norm(w.norms["attention"], b.x, b.normed, keep)),
            qkv=self._product(w.qkv, b.normed, b.qkv),
            attention=self._attention(w, number, b, keep),
            out=self._product(w.out, b.attended, b.branch),
            after_attention=after["after_attention"],
            norm_mlp=addressof(self._norm(w.norms["mlp"], b.x, b.normed, keep)),
            gate_up=self._product(w.gate_up, b.normed, b.gate_up),
            gate=gate,
            down=self._product(w.down, b.gated, b.branch),
            after_mlp=after["after_mlp"],
        )

    def _product(self, linear: Linear, x: Tensor, out: Tensor) -> _Product:
        """For one row the matrix is only read: the compiled kernel does that faster than either library."""
        weight = linear.transposed.t()
        if len(x) > 1 or weight.dtype != torch.float32 or not weight.is_contiguous():
            return linear
        struct = native.Row(
            inputs=weight.shape[1],
            outputs=weight.shape[0],
            x=address(x),
            weight=address(weight),
            bias=None if linear.bias is None else address(linear.bias),
            y=address(out),
            threads=torch.get_num_threads(),
        )

        def product(x: Tensor, out: Tensor, held: object = (linear, x, out)) -> Tensor:
            self._kernels.row_product(addressof(struct))
            return out

        return product

    def logits(self, hidden: Tensor) -> Tensor:
        """The head's product."""
        head = self._weights.head
        if len(hidden) > 1 or not hidden.is_contiguous():
            return head(hidden)
        out = torch.empty(1, head.transposed.shape[1])
        return self._product(head, hidden, out)(hidden, out)

    def _norm(
        self, norm: tuple[Tensor, float], x: Tensor, out: Tensor, keep: list[Any], *, add: int = 0
    ) -> native.Norm:
        weight, eps = norm
        keep.append(weight)
        struct = native.Norm(
            rows=len(x),
            size=x.shape[1],
            eps=eps,
            x=address(x),
            weight=address(weight),
            out=address(out),
            add=add,
            threads=torch.get_num_threads(),
        )
        keep.append(struct)
        return struct

    def _attention(self, w: LayerWeights, number: int, b: _Buffers, keep: list[Any]) -> native.Attention:
        shape, layer = self._weights.shape, w.layer
        cosines, sines = self._rotary.tables[layer.rotary_kind]
        keep += [cosines, sines, w.query_norm, w.key_norm]
        return native.Attention(
            tokens=ctypes.addressof(self._tokens),
            pages=address(self._pages.arena[number]),
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            size=shape.head_size,
            padded=self._pages.padded,
            qkv=address(b.qkv),
            out=address(b.attended),
            query_norm=address(w.query_norm[0]) if w.query_norm else None,
            key_norm=address(w.key_norm[0]) if w.key_norm else None,
            eps=w.query_norm[1] if w.query_norm else 0.0,
            scale=layer.scale,
            softcap=layer.softcap,
            window=layer.window,
            cosines=address(cosines),
            sines=address(sines),
        )

    # ---------------------------------------------------------------------------------------- what a forward brings

    def _follow(self, plan: Plan) -> None:
        """Point the kernels at the plan; its arrays may change in place afterwards."""
        if plan is self._plan:
            return
        tokens = self._tokens
        tokens.count, tokens.num_blocks = len(plan.rows), len(plan.block_shared)
        tokens.row, tokens.position, tokens.order = map(_data, (plan.rows, plan.positions, plan.order))
        tokens.block_start, tokens.block_shared = _data(plan.block_starts), _data(plan.block_shared)
        tokens.table, tokens.table_width = _data(self._pages.table), self._pages.table.shape[1]
        tokens.threads = torch.get_num_threads()
        self._plan = plan

    def _follow_tasks(self, tasks: Tasks | None) -> None:
        self._tasks = tasks
        self._low_rank.clear()
        if tasks is None:
            return
        for number in range(len(self._weights.layers)):
            for point in ("qkv", "out", "gate_up", "down"):
                pieces = self._adapters.pieces((number, point))
                if any(pieces):
                    self._low_rank[number, point] = _low_rank(pieces, tasks)

    def _add(self, number: int, point: str, x: Tensor, y: Tensor) -> None:
        found = self._low_rank.get((number, point))
        if found is not None:
            struct = found[0]
            struct.inputs, struct.outputs = x.shape[1], y.shape[1]
            struct.x, struct.y = x.data_ptr(), y.data_ptr()
            self._kernels.low_rank(ctypes.addressof(struct))


def _low_rank(pieces: list[list[Any]], tasks: Tasks) -> tuple[native.LowRank, list[Any]]:
    flat = [piece for found in pieces for piece in found]
    ends = np.cumsum([len(found) for found in pieces])
    starts = ends - [len(found) for found in pieces]
    ranges = np.ascontiguousarray(np.stack([starts[tasks.adapters], ends[tasks.adapters]], axis=1), dtype=np.int64)
    structs = (native.Piece * len(flat))(
        *(native.Piece(address(p.a), address(p.blocked), len(p.a), p.offset, p.bt.shape[1]) for p in flat)
    )
    struct = native.LowRank(
        num_tasks=len(tasks.adapters),
        task_start=_data(tasks.starts),
        task_piece=_data(ranges),
        rows=_data(tasks.tokens),
        pieces=ctypes.addressof(structs),
        threads=torch.get_num_threads(),
    )
    return struct, [structs, ranges, tasks, flat]


def _plain_embedding(embed: Any) -> Tensor | None:
    """Its matrix, if it only looks rows up."""
    weight: Tensor = embed.weight.detach()
    return weight if type(embed) is torch.nn.Embedding and weight.dtype == torch.float32 else None


def _data(values: Ints) -> int:
    assert values.dtype == np.int64
    assert values.flags.c_contiguous
    return values.ctypes.data
