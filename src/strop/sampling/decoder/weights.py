"""The policy's weights as a step reads them: query, key and value in one matrix, gate and up in one, others shared."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from strop.sampling.decoder.shape import Layer, Shape, linears, norm_eps, plain_linear

_SAMPLED = 64
_MIN_PACKED_WORK = 2**20
"""Rows × inputs × outputs from which oneDNN beats MKL, here 2 to 3 times (AVX-512, AMD); below, its calls cost more."""
_PACKED_ROWS = 64
_MAX_PACKED_BYTES = 2**30
"""Weights beyond it are not held a second time in oneDNN's order; they are read as they lie, a quarter slower."""


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
    address and version counter, which each in-place operation raises, and by a sum over a few numbers of each tensor,
    which sees writes through ``.data`` that go around the counter. ``folds_adapter``: the policy's own LoRA is added to
    the matrices; otherwise they are those of the base.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        self.shape = shape
        self.dtype = dtype
        self.folds_adapter = True
        self.generation = 0
        """Counts the refreshes that changed something."""
        self.layers: tuple[LayerWeights, ...] = ()
        self._seen: object = None
        self._packs = sum(p.numel() * 4 for p in self._parameters()) <= _MAX_PACKED_BYTES

    def refresh(self) -> float:
        """Seconds spent on taking over changed weights; 0.0 if nothing changed."""
        start = time.perf_counter()
        seen = (self.folds_adapter, _state(self._parameters()))
        if seen == self._seen:
            return 0.0
        with torch.no_grad():
            self.layers = tuple(self._fused(layer) for layer in self.shape.layers)
            self.final_norm = self._norm(self.shape.final_norm)
            self.head = self._linear([self.shape.head])
        self._seen = seen
        self.generation += 1
        return time.perf_counter() - start

    def _parameters(self) -> Iterator[Tensor]:
        for layer in self.shape.layers:
            for module in (layer.attention, layer.mlp, *layer.norms.values()):
                yield from module.parameters()
        yield from self.shape.final_norm.parameters()
        yield from self.shape.head.parameters()

    def _fused(self, layer: Layer) -> LayerWeights:
        attention, mlp = layer.attention, layer.mlp
        has_norms = hasattr(attention, "q_norm")
        return LayerWeights(
            layer=layer,
            norms={name: self._norm(norm) for name, norm in layer.norms.items()},
            qkv=self._linear([attention.q_proj, attention.k_proj, attention.v_proj]),
            query_norm=self._norm(attention.q_norm) if has_norms else None,
            key_norm=self._norm(attention.k_norm) if has_norms else None,
            out=self._linear([attention.o_proj]),
            gate_up=self._linear([mlp.gate_proj, mlp.up_proj]),
            down=self._linear([mlp.down_proj]),
        )

    def _norm(self, norm: Any) -> tuple[Tensor, float]:
        weight = norm.weight.detach().float()
        return (weight + self.shape.norm_offset if self.shape.norm_offset else weight.contiguous()), norm_eps(norm)

    def _linear(self, modules: list[Any]) -> Linear:
        matrices = [self._matrix(module).to(self.dtype) for module in modules]
        biases = [plain_linear(module).bias for module in modules]
        bias = None
        if any(b is not None for b in biases):
            zeros = [matrix.new_zeros(len(matrix)) for matrix in matrices]
            found = [zero if b is None else b.detach().to(self.dtype) for b, zero in zip(biases, zeros, strict=True)]
            bias = torch.cat(found) if len(found) > 1 else found[0]
        matrix = torch.cat(matrices) if len(matrices) > 1 else matrices[0]
        return Linear(matrix.t(), bias, _pack(matrix, copies=self._packs))

    def _matrix(self, module: Any) -> Tensor:
        weight: Tensor = plain_linear(module).weight.detach()
        if not self.folds_adapter or not hasattr(module, "lora_A"):
            return weight
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        folded: Tensor = weight + float(module.scaling["default"]) * (b.detach() @ a.detach())
        return folded


def own_products(layer: Layer) -> dict[str, tuple[Tensor, Tensor, float]]:
    """The policy's own LoRA in this layer: name of the linear layer in the plain model → (A, B, scaling)."""
    return {
        f"{layer.name}.{name}": (
            module.lora_A["default"].weight.detach(),
            module.lora_B["default"].weight.detach(),
            float(module.scaling["default"]),
        )
        for name, module in linears(layer).items()
        if hasattr(module, "lora_A")
    }


def _state(parameters: Iterator[Tensor]) -> tuple[object, ...]:
    found: list[object] = []
    samples = []
    for parameter in parameters:
        tensor = parameter.detach()
        found += [tensor.data_ptr(), None if tensor.is_inference() else tensor._version]
        flat = tensor.reshape(-1) if tensor.is_contiguous() else tensor[..., 0].reshape(-1)
        samples.append(flat[:: max(1, len(flat) // _SAMPLED)].float().sum())
    return (*found, *torch.stack(samples).tolist())


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
