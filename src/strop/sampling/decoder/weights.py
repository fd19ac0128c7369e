"""The policy's weights as a step reads them: query, key and value in one matrix, gate and up in one, others shared."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from strop.errors import ModelError
from strop.sampling.decoder.shape import Layer, Shape, linears, norm_eps, odd_lora, plain_linear

_MIN_PACKED_WORK = 2**20
"""Rows × inputs × outputs from which oneDNN beats MKL, here 2 to 3 times (AVX-512, AMD); below, its calls cost more."""
_PACKED_ROWS = 64
_MAX_PACKED_BYTES = 2**30
"""Weights beyond it are not held a second time in oneDNN's order; they are read as they lie, a quarter slower."""
Product = tuple[Tensor, Tensor, float]
"""A, B and the scaling of a low-rank product."""


@dataclass(frozen=True, eq=False)
class Linear:
    """y = x Wᵀ + b, in float32 whatever W is."""

    transposed: Tensor
    """Wᵀ [inputs, outputs]."""
    bias: Tensor | None
    packed: Tensor | None
    """W as oneDNN reads it, on a CPU."""

    def uses_packed(self, rows: int) -> bool:
        """Whether oneDNN is the faster library for so many rows."""
        return self.packed is not None and rows * self.transposed.numel() >= _MIN_PACKED_WORK

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """The product; in ``out`` where the library can write there, otherwise in a new tensor."""
        if self.uses_packed(len(x)):
            low = x.to(self.transposed.dtype)
            found: Tensor = torch.ops.mkldnn._linear_pointwise(low, self.packed, self.bias, "none", [], "").float()
            return found
        if self.transposed.dtype != torch.float32:
            return functional.linear(x.to(self.transposed.dtype), self.transposed.t(), self.bias).float()
        if out is None:
            return functional.linear(x, self.transposed.t(), self.bias)
        if self.bias is None:
            return torch.mm(x, self.transposed, out=out)
        return torch.addmm(self.bias, x, self.transposed, out=out)


def _pack(matrix: Tensor, *, copies: bool) -> Tensor | None:
    """``matrix`` for oneDNN: reordered if a copy may be held, as it is otherwise; None where there is no oneDNN."""
    if matrix.device.type != "cpu" or not _has_onednn(matrix.dtype):
        return None
    if not copies:
        return matrix.contiguous()
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(matrix, _PACKED_ROWS)
    return packed


@cache
def _has_onednn(dtype: torch.dtype) -> bool:
    """Whether this torch has the operations for that dtype, and they are right about a small product."""
    try:
        x, w = torch.randn(3, 5).to(dtype), torch.randn(7, 5).to(dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(w, _PACKED_ROWS)
        found = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return False
    return torch.allclose(found, x @ w.t(), atol=1e-5 if dtype == torch.float32 else 0.1)


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """What a step reads of one layer."""

    layer: Layer
    norms: dict[str, tuple[Tensor, float]]
    """Effective weight (the family's offset is in it) and epsilon."""
    qkv: Linear
    query_norm: tuple[Tensor, float] | None
    key_norm: tuple[Tensor, float] | None
    out: Linear
    gate_up: Linear
    down: Linear


class Weights:
    """All layers' weights; ``refresh`` takes over what changed in the policy since the last time.

    What is fused is a copy: it follows the policy only by ``refresh``. A change is seen by every parameter's storage
    address and version counter, which each in-place operation raises; by a random weighting of every row, which sees
    writes through ``.data`` that go around the counter; and by how PEFT would apply the policy's own LoRA now.
    ``folds_adapter``: that LoRA is added to the matrices; otherwise they are those of the base.

    Reading every weight for it takes 6 ms for 24M parameters on a core, as long as two decoded tokens, and 0.1 ms for
    46 000.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        self.shape = shape
        self.dtype = dtype
        self.folds_adapter = True
        self.generation = 0
        """Counts the refreshes that changed something."""
        self.layers: tuple[LayerWeights, ...] = ()
        self.own: dict[str, Product] = {}
        """The policy's own LoRA by the linear layers' names in the plain model, folded in or not."""
        self._seen: object = None
        self._digest = torch.empty(0)
        self._weightings: dict[int, Tensor] = {}
        self._packs = sum(p.numel() * 4 for p in self._parameters()) <= _MAX_PACKED_BYTES

    def refresh(self) -> float:
        """Seconds spent on taking over changed weights; 0.0 if nothing changed.

        Raises: ModelError where the policy's own adapter is not one plain LoRA any more.
        """
        start = time.perf_counter()
        parameters = list(self._parameters())
        with torch.no_grad(), torch.autocast(parameters[0].device.type, enabled=False):
            seen = (self.folds_adapter, _places(parameters), _applied(self.shape))
            digest = self._weighted(parameters)
            if seen == self._seen and torch.equal(digest, self._digest):
                return 0.0
            self.own = {name: product for layer in self.shape.layers for name, product in _own_products(layer).items()}
            self.layers = tuple(self._fused(layer) for layer in self.shape.layers)
            self.final_norm = self._norm(self.shape.final_norm)
            self.head = self._linear({"": self.shape.head}, {})
        self._seen, self._digest = seen, digest
        self.generation += 1
        return time.perf_counter() - start

    def _weighted(self, parameters: Sequence[Tensor]) -> Tensor:
        """Every row of every matrix as one number: its product with the same random vector each time."""
        found = []
        for parameter in parameters:
            values = parameter.detach().float()
            if values.dim() > 1:
                values = values.flatten(1)
                values = values @ self._weighting(values.shape[1], values.device)
            found.append(values.flatten())
        return torch.cat(found)

    def _weighting(self, width: int, device: torch.device) -> Tensor:
        if width not in self._weightings:
            drawn = torch.randn(width, generator=torch.Generator().manual_seed(width))
            self._weightings[width] = drawn.to(device)
        return self._weightings[width]

    def _parameters(self) -> Iterator[Tensor]:
        for layer in self.shape.layers:
            for module in (layer.attention, layer.mlp, *layer.norms.values()):
                yield from module.parameters()
        yield from self.shape.final_norm.parameters()
        yield from self.shape.head.parameters()

    def _fused(self, layer: Layer) -> LayerWeights:
        attention, modules = layer.attention, linears(layer)
        own = self.own if self.folds_adapter else {}

        def linear(*names: str) -> Linear:
            return self._linear({f"{layer.name}.{name}": modules[name] for name in names}, own)

        has_norms = hasattr(attention, "q_norm")
        return LayerWeights(
            layer=layer,
            norms={name: self._norm(norm) for name, norm in layer.norms.items()},
            qkv=linear("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            query_norm=self._norm(attention.q_norm) if has_norms else None,
            key_norm=self._norm(attention.k_norm) if has_norms else None,
            out=linear("self_attn.o_proj"),
            gate_up=linear("mlp.gate_proj", "mlp.up_proj"),
            down=linear("mlp.down_proj"),
        )

    def _norm(self, norm: Any) -> tuple[Tensor, float]:
        weight = norm.weight.detach().float()
        return (weight + self.shape.norm_offset if self.shape.norm_offset else weight.contiguous()), norm_eps(norm)

    def _linear(self, modules: dict[str, Any], own: Mapping[str, Product]) -> Linear:
        matrices = [_matrix(module, own.get(name)).to(self.dtype) for name, module in modules.items()]
        biases = [plain_linear(module).bias for module in modules.values()]
        bias = None
        if any(b is not None for b in biases):
            zeros = [matrix.new_zeros(len(matrix)) for matrix in matrices]
            found = [zero if b is None else b.detach().to(self.dtype) for b, zero in zip(biases, zeros, strict=True)]
            bias = torch.cat(found) if len(found) > 1 else found[0]
        matrix = torch.cat(matrices) if len(matrices) > 1 else matrices[0]
        return Linear(matrix.t(), bias, _pack(matrix, copies=self._packs))


def _matrix(module: Any, own: Product | None) -> Tensor:
    weight: Tensor = plain_linear(module).weight.detach()
    if own is None:
        return weight
    a, b, scaling = own
    return weight + scaling * (b @ a)


def _own_products(layer: Layer) -> dict[str, Product]:
    """The policy's own LoRA in this layer as PEFT would apply it now, by the linear layers' names in the plain model.

    Raises: ModelError where it is not one plain LoRA any more.
    """
    found: dict[str, Product] = {}
    for name, module in linears(layer).items():
        if not hasattr(module, "lora_A") or (module.disable_adapters and not module.merged):
            continue
        odd = odd_lora(module)
        if odd is not None:
            raise ModelError(
                f"the policy's adapter {odd}",
                where=f"{layer.name}.{name}",
                why="it was one plain LoRA when the sampler was made",
                do="undo that (unmerge_adapter, set_adapter), or make a new sampler",
            )
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        found[f"{layer.name}.{name}"] = (a.detach(), b.detach(), float(module.scaling["default"]))
    return found


def _places(parameters: Sequence[Tensor]) -> list[tuple[int, int | None]]:
    """Where each lies, and how often it was written."""
    return [(p.data_ptr(), None if p.is_inference() else p._version) for p in parameters]


def _applied(shape: Shape) -> list[object]:
    """Whatever decides how PEFT applies the policy's own LoRA, beside its weights."""
    modules = [module for layer in shape.layers for module in linears(layer).values() if hasattr(module, "lora_A")]
    return [
        (m.disable_adapters, list(m.merged_adapters), list(m.active_adapters), list(m.lora_A), dict(m.scaling))
        for m in modules
    ]


class Rotary:
    """The model's own cosines and sines by position, [positions, head size], computed once and grown as needed."""

    def __init__(self, shape: Shape, max_length: int) -> None:
        self._module = copy.deepcopy(shape.rotary)
        self._max_length = max_length
        self._device = next(shape.final_norm.parameters()).device
        self.kinds = tuple(dict.fromkeys(layer.rotary_kind for layer in shape.layers))
        self.length = 0
        self.tables: dict[str | None, tuple[Tensor, Tensor]] = {}
        self.reserve(256)

    def reserve(self, length: int) -> bool:
        """Whether the tables had to grow to hold positions below ``length``."""
        if length <= self.length:
            return False
        self.length = min(max(length, 2 * self.length), max(self._max_length, length))
        self.tables = {kind: self._compute(kind, self.length) for kind in self.kinds}
        return True

    def _compute(self, kind: str | None, length: int) -> tuple[Tensor, Tensor]:
        x = torch.zeros(1, device=self._device)
        positions = torch.arange(length, device=self._device)[None]
        with torch.no_grad():
            cosines, sines = self._module(x, positions) if kind is None else self._module(x, positions, kind)
        return cosines[0].float().contiguous(), sines[0].float().contiguous()

    def odd(self, head_size: int) -> str | None:
        """Why a table cannot stand for the module, if it cannot."""
        for kind in self.kinds:
            if self.tables[kind][0].shape[-1] != head_size:
                return "only a part of each head is rotated"
            short = self._compute(kind, 8)
            whole = self._compute(kind, self._max_length)
            if not all(torch.allclose(s, w[:8], atol=1e-6) for s, w in zip(short, whole, strict=True)):
                return "its rotary embedding depends on the sequence's length"
        return None
