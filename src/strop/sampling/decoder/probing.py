"""Whether the hand-written step computes what the model itself does, found by trying both on that very model."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from strop.sampling.decoder.decoder import FastDecoder
from strop.sampling.decoder.native import PAGE, Kernels, load_kernels
from strop.sampling.decoder.shape import Shape, linears, plain_linear, plain_model, read_shape
from strop.sampling.decoder.weights import Rotary
from strop.sampling.decoding import Adapter, evaluating

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strop.models import Policy

TOLERANCE = 1e-4
"""Of the logits' largest size."""
_BF16_TOLERANCE = 0.05
_MAX_COPY_BYTES = 2**30
"""A larger model is probed as it is, without a sharpened copy."""
_WINDOW = 24
_STEPS = 3
_SHARPNESS = 1.5


def probe(policy: Policy, kernels: Kernels | str | None = None) -> FastDecoder | str:
    """The fast decoder for ``policy``, or why the model's own forward must be used.

    Compared are the logits of prompts of several lengths (beyond the attention window; sharing a prefix) and of the
    tokens decoded after them, on the model as it is, and on a copy whose weights are sharpened and whose windows are
    shortened, with its own adapter and with one loaded beside it: a default initialisation would hide errors.
    ``kernels``: those of this machine where it is None.
    """
    kernels = load_kernels() if kernels is None else kernels
    found = read_shape(policy.model)
    if isinstance(found, str):
        return found
    rotary = Rotary(found, policy.max_length).odd(found.head_size)
    if rotary is not None:
        return rotary
    with evaluating(policy.model), torch.inference_mode():
        told = _sharpened_differs(policy, found, kernels)
        if told is not None:
            return told
        decoder = FastDecoder(policy, found, kernels)
        with policy.autocast():
            limit = TOLERANCE if policy.dtype == torch.float32 else _BF16_TOLERANCE
            told = _differs(decoder, policy.model, _prompts(found, policy.max_length), [-1] * 3, limit)
        return told or FastDecoder(policy, found, kernels)


def _sharpened_differs(policy: Policy, shape: Shape, kernels: Kernels | str) -> str | None:
    if sum(p.numel() * p.element_size() for p in policy.model.parameters()) > _MAX_COPY_BYTES:
        return None
    with torch.inference_mode(False), torch.no_grad():
        model = copy.deepcopy(policy.model)
        sharpen(model)
        _shorten_windows(model)
    probed = copy.copy(policy)
    probed.model, probed.dtype = model, torch.float32
    sharp = read_shape(model)
    assert isinstance(sharp, Shape)
    decoder = FastDecoder(probed, sharp, kernels)
    prompts = _prompts(sharp, policy.max_length)
    told = _differs(decoder, model, prompts, [-1] * 3, TOLERANCE)
    if told is None:
        adapters = [_random_adapter(sharp, seed, rank) for seed, rank in ((1, 3), (2, 5))]
        indices = [decoder.load(adapter) for adapter in adapters]
        told = _adapters_differ(decoder, model, sharp, prompts, adapters, indices)
    return None if told is None else f"with sharpened weights, {told}"


def _adapters_differ(
    decoder: FastDecoder,
    model: Any,
    shape: Shape,
    prompts: Sequence[Sequence[int]],
    adapters: Sequence[Adapter],
    indices: Sequence[int],
) -> str | None:
    """Rows on the policy and on two adapters in one batch, each against the model that it means."""
    chosen = [-1, *indices]
    found = _decoded(decoder, prompts, chosen)
    for row, index in enumerate(chosen):
        with _merged(model, shape, adapters[indices.index(index)]) if index >= 0 else contextlib.nullcontext():
            expected = _alone(model, found[row][0])
        told = _compared(found[row][1], expected, TOLERANCE)
        if told is not None:
            return f"{told} (a row with adapter {index})"
    return None


def _differs(
    decoder: FastDecoder, model: Any, prompts: Sequence[Sequence[int]], adapters: Sequence[int], limit: float
) -> str | None:
    for token_ids, logits in _decoded(decoder, prompts, adapters):
        told = _compared(logits, _alone(model, token_ids), limit)
        if told is not None:
            return told
    return None


def _decoded(
    decoder: FastDecoder, prompts: Sequence[Sequence[int]], adapters: Sequence[int]
) -> list[tuple[list[int], Tensor]]:
    """Each row's tokens without the last, and the logits after its prompt and after every decoded token."""
    slots, logits = decoder.add(prompts, [_STEPS] * len(prompts), adapters)
    rows = [list(prompt) for prompt in prompts]
    seen = [logits]
    for step in range(_STEPS):
        tokens = (logits.argmax(-1) + step) % decoder.vocab_size
        logits = decoder.advance(torch.tensor(slots), tokens)
        seen.append(logits)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            row.append(token)
    decoder.remove(slots)
    return list(zip(rows, torch.stack(seen, dim=1).unbind(0), strict=True))


def _alone(model: Any, token_ids: Sequence[int]) -> Tensor:
    device = next(model.parameters()).device
    logits: Tensor = model(input_ids=torch.tensor([token_ids], device=device), use_cache=False).logits
    return logits[0, -1 - _STEPS :].float()


def _compared(found: Tensor, expected: Tensor, limit: float) -> str | None:
    scale = float(expected.abs().max())
    difference = float((found - expected).abs().max())
    if difference <= limit * max(scale, 1e-3):
        return None
    return f"its logits differ from the model's own by {difference:.1e} at a scale of {scale:.1e}"


def _prompts(shape: Shape, max_length: int) -> list[list[int]]:
    """Three prompts: one beyond the window, one with the same beginning, and a short one."""
    window = max((layer.window for layer in shape.layers), default=0)
    longest = min(max(3 * PAGE + 5, window + PAGE + 3 if window <= 512 else 0), max_length - _STEPS)
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, shape.vocab_size, (longest,), generator=generator).tolist()
    second = first[: 2 * PAGE + 3] + torch.randint(0, shape.vocab_size, (9,), generator=generator).tolist()
    return [first, second[: max_length - _STEPS], first[2:5]]


@torch.no_grad()
def sharpen(model: nn.Module) -> None:
    """Give every matrix of ``model`` entries large enough that a wrong window, norm, bias or scale shows; in place."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
        if parameter.dim() < 2:
            parameter.add_(0.3 * noise)
            continue
        size = float(parameter.square().mean().sqrt())
        wanted = _SHARPNESS / math.sqrt(parameter.shape[-1])
        parameter.copy_(parameter * (wanted / size) if size > 0 else noise * wanted)


def _shorten_windows(model: Any) -> None:
    config = plain_model(model).config
    for holder in (config, *plain_model(model).modules()):
        if isinstance(getattr(holder, "sliding_window", None), int):
            holder.sliding_window = min(holder.sliding_window, _WINDOW)


def _random_adapter(shape: Shape, seed: int, rank: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in shape.layers:
        for name, module in linears(layer).items():
            linear = plain_linear(module)
            a = torch.randn(rank, linear.in_features, generator=generator) / math.sqrt(linear.in_features)
            b = torch.randn(linear.out_features, rank, generator=generator) / math.sqrt(linear.in_features)
            weights[f"{layer.name}.{name}"] = (a.to(linear.weight.device), b.to(linear.weight.device))
    return Adapter(digest=f"probe-{seed}", scaling=0.7, weights=weights)


@contextmanager
def _merged(model: Any, shape: Shape, adapter: Adapter) -> Iterator[None]:
    """Within it, the base's matrices hold the adapter's product, and the model's own adapter is off."""
    own: AbstractContextManager[Any] = (
        model.disable_adapter() if hasattr(model, "disable_adapter") else contextlib.nullcontext()
    )
    matrices = {
        f"{layer.name}.{name}": plain_linear(module)
        for layer in shape.layers
        for name, module in linears(layer).items()
    }
    before = {name: linear.weight.data for name, linear in matrices.items()}
    for name, (a, b) in adapter.weights.items():
        matrices[name].weight.data = before[name] + adapter.scaling * (b @ a)
    try:
        with own:
            yield
    finally:
        for name, linear in matrices.items():
            linear.weight.data = before[name]
