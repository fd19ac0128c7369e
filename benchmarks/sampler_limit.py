"""What the kernels alone would allow of sampling: no engine, no Python between the products."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from sampler import Case

Clock = Callable[[], float]


def _median_seconds(run: Callable[[], object], clock: Clock, repeats: int = 15) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return statistics.median(times)


class _Product:
    """One matrix product per layer by the faster of torch's two libraries, each with a matrix of its own."""

    def __init__(self, rows: int, inputs: int, outputs: int, layers: int, clock: Clock) -> None:
        self._x = torch.randn(rows, inputs)
        self._matrices = [torch.randn(outputs, inputs) for _ in range(layers)]
        self._packed = [torch.ops.mkldnn._reorder_linear_weight(matrix, 64) for matrix in self._matrices]
        every = range(layers)
        self._is_packed = True
        packed = _median_seconds(lambda: [self(i) for i in every], clock, 5)
        self._is_packed = False
        self._is_packed = packed < _median_seconds(lambda: [self(i) for i in every], clock, 5)

    def __call__(self, layer: int) -> Tensor:
        if self._is_packed:
            found: Tensor = torch.ops.mkldnn._linear_pointwise(self._x, self._packed[layer], None, "none", [], "")
            return found
        return functional.linear(self._x, self._matrices[layer])


def _attention(batch: int, queries: int, config: Any, length: int) -> Callable[[int], Tensor]:
    """Torch's attention over contiguous keys and values, every layer with its own."""
    size, heads, kv_heads = config.head_dim, config.num_attention_heads, config.num_key_value_heads
    query = torch.randn(batch, heads, queries, size)
    caches = [torch.randn(2, batch, kv_heads, length, size) for _ in range(config.num_hidden_layers)]

    def run(layer: int) -> Tensor:
        keys, values = caches[layer]
        found: Tensor = functional.scaled_dot_product_attention(query, keys, values, enable_gqa=heads != kv_heads)
        return found

    return run


@torch.inference_mode()
def limit_tokens_per_s(config: Any, case: Case, new_tokens: int, clock: Clock) -> dict[str, float]:
    """What the kernels alone would allow at the mean length of the run, in the order in which a step needs them."""
    hidden, size, layers = config.hidden_size, config.head_dim, config.num_hidden_layers
    queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    shapes = [
        (hidden, queries + 2 * keys),
        (queries, hidden),
        (hidden, 2 * config.intermediate_size),
        (config.intermediate_size, hidden),
    ]
    products = [_Product(case.batch, *shape, layers, clock) for shape in shapes]
    head = _Product(case.batch, hidden, config.vocab_size, 1, clock)
    own = new_tokens // 2
    if case.group_size == 1:
        attention = [_attention(case.batch, 1, config, case.prompt_length + own)]
    else:
        attention = [
            _attention(case.num_groups, case.group_size, config, case.prompt_length),
            _attention(case.batch, 1, config, own),
        ]
    attending = 0.0

    def step() -> None:
        nonlocal attending
        for layer in range(layers):
            products[0](layer)
            start = clock()
            for attend in attention:
                attend(layer)
            attending += clock() - start
            for product in products[1:]:
                product(layer)
        head(0)

    repeats = 30
    seconds = _median_seconds(step, clock, repeats)
    return {
        "limit_tokens_per_s": case.batch / seconds,
        "limit_step_ms": 1e3 * seconds,
        "limit_attention_ms": 1e3 * attending / (repeats + 1),
    }
