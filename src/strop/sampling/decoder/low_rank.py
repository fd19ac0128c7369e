"""Many adapters in one batch: which low-rank products each token of a forward gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from strop.errors import ModelError
from strop.sampling.decoder.native import PAGE, QUERIES
from strop.sampling.decoder.pages import Ints
from strop.sampling.decoder.shape import Layer, Shape, linears, plain_linear
from strop.sampling.decoding import Adapter

Point = tuple[int, str]
"""A layer's number, and one of ``POINTS``: a matrix product of the step to which low-rank products are added."""
POINTS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
Products = Mapping[str, tuple[Tensor, Tensor, float]]
"""Name of a linear layer → (A, B, scaling)."""


@dataclass(frozen=True, eq=False)
class Piece:
    """y[:, offset : offset + width] += (x Aᵀ) Bᵀ with the scaling in B; ``bt`` is [rank, width]."""

    a: Tensor
    bt: Tensor
    offset: int

    @cached_property
    def blocked(self) -> Tensor:
        """``bt`` as the compiled kernel streams it: block after block of outputs, each [rank, block]."""
        return torch.cat([block.reshape(-1) for block in torch.split(self.bt, 2 * PAGE, dim=1)])


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tokens by adapter, at most eight a task; tokens on the plain weights are in none."""

    tokens: Ints
    starts: Ints
    """[tasks + 1] into ``tokens``."""
    adapters: Ints
    """[tasks]."""


class Adapters:
    """Everything loaded beside the base, by index; the policy's own adapter is at ``OWN`` once it is not folded in."""

    OWN = 0

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._pieces: list[dict[Point, list[Piece]]] = [{}]
        self.generation = 0

    def __len__(self) -> int:
        return len(self._pieces) - 1

    def load(self, adapter: Adapter) -> int:
        """Its index for ``Decoder.add``. Raises: ModelError where it does not fit the model."""
        products = {name: (a, b, adapter.scaling) for name, (a, b) in adapter.weights.items()}
        self._pieces.append(self._cut(products, f"the adapter {adapter.digest[:12]}"))
        self.generation += 1
        return len(self._pieces) - 2

    def set_own(self, products: Products) -> None:
        """The policy's own adapter as it is now."""
        self._pieces[self.OWN] = self._cut(products, "the policy's adapter")
        self.generation += 1

    def pieces(self, point: Point) -> list[list[Piece]]:
        """Of every adapter at this point; ``OWN`` first, adapter i of ``Decoder.add`` at i + 1."""
        return [found.get(point, []) for found in self._pieces]

    def tasks(self, adapters: Ints) -> Tasks | None:
        """For tokens under these adapters (indices as in ``Decoder.add``); None if no token has one."""
        entries = adapters + 1
        if len(self) == 0 or not any(self._pieces[entry] for entry in np.unique(entries)):
            return None
        order = np.argsort(entries, kind="stable")
        order = order[[bool(self._pieces[entry]) for entry in entries[order]]]
        starts: list[int] = []
        chosen: list[int] = []
        for i, entry in enumerate(entries[order]):
            if not starts or chosen[-1] != entry or i - starts[-1] == QUERIES:
                starts.append(i)
                chosen.append(int(entry))
        return Tasks(order.astype(np.int64), np.array([*starts, len(order)], np.int64), np.array(chosen, np.int64))

    def _cut(self, products: Products, who: str) -> dict[Point, list[Piece]]:
        rest = dict(products)
        found: dict[Point, list[Piece]] = {}
        for number, layer in enumerate(self._shape.layers):
            for point, names in POINTS.items():
                pieces = self._at(layer, names, rest, who)
                if pieces:
                    found[number, point] = pieces
        if rest:
            raise ModelError(
                f"{who} does not fit the model",
                where=min(rest),
                why="the model has no linear layer of that name",
                do="load it on the base that it was trained on",
            )
        return found

    def _at(
        self, layer: Layer, names: tuple[str, ...], rest: dict[str, tuple[Tensor, Tensor, float]], who: str
    ) -> list[Piece]:
        pieces, offset = [], 0
        modules = linears(layer)
        for name in names:
            linear = plain_linear(modules[name])
            product = rest.pop(f"{layer.name}.{name}", None)
            if product is not None:
                a, b, scaling = product
                if a.shape[1] != linear.in_features or b.shape[0] != linear.out_features:
                    raise ModelError(
                        f"{who} does not fit the model",
                        where=f"{layer.name}.{name}",
                        why=f"it maps {a.shape[1]} numbers to {b.shape[0]}, the layer {linear.in_features} to "
                        f"{linear.out_features}",
                        do="load it on the base that it was trained on",
                    )
                device = linear.weight.device
                down = a.detach().to(device, torch.float32).contiguous()
                up = (b.detach().to(device, torch.float32) * scaling).t().contiguous()
                pieces.append(Piece(down, up, offset))
            offset += linear.out_features
        return pieces


def add_products(x: Tensor, y: Tensor, pieces: list[list[Piece]], tasks: Tasks) -> None:
    """Add every token's low-rank products to ``y``, with torch alone, one adapter after the other."""
    for entry in np.unique(tasks.adapters):
        spans = [tasks.tokens[tasks.starts[i] : tasks.starts[i + 1]] for i in np.flatnonzero(tasks.adapters == entry)]
        rows = torch.from_numpy(np.concatenate(spans)).to(x.device)
        for piece in pieces[entry]:
            part = y[:, piece.offset : piece.offset + piece.bt.shape[1]]
            part[rows] += (x[rows].float() @ piece.a.t()) @ piece.bt
