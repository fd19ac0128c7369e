"""What this machine has, and what follows for device, precision and memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from strop.errors import MemoryLimitError, RecipeError

if TYPE_CHECKING:
    from strop.models.policy import Policy

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_MIN_BF16_HIDDEN_SIZE = 256
"""Below it the casts of autocast cost more than bfloat16 matrix products save (measured on two AMX cores)."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed pages for reuse, and say whether it agreed; elsewhere nothing happens.

    Fresh pages are dear on virtual machines: a training step of a 5M-parameter model became several times faster.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def choose_num_threads() -> int:
    """``OMP_NUM_THREADS`` where it is set, else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(asked: str | torch.device = "auto") -> torch.device:
    """The device that was asked for; ``auto`` prefers CUDA, then Apple's GPU, then the CPU. Raises: RecipeError."""
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise RecipeError(f"unknown device {asked!r}", why=str(error), do="use auto, cpu, cuda or mps") from error
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not usable.get(device.type, True):
        raise RecipeError(f"device {asked} was asked for, but this machine has none", do="use device = auto or cpu")
    return device


def choose_dtype(asked: str | torch.dtype, device: torch.device, hidden_size: int) -> torch.dtype:
    """The dtype of the matrix products. ``auto``: bfloat16 where the device is fast at it and the model wide enough.

    Raises: RecipeError for a dtype that is neither float32 nor bfloat16.
    """
    if isinstance(asked, torch.dtype):
        asked = str(asked).removeprefix("torch.")
    if asked == "auto":
        wide = hidden_size >= _MIN_BF16_HIDDEN_SIZE
        return torch.bfloat16 if wide and _has_fast_bfloat16(device) else torch.float32
    if asked not in _DTYPES:
        raise RecipeError(f"unknown dtype {asked!r}", do=f"use auto, {' or '.join(_DTYPES)}")
    return _DTYPES[asked]


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16"))


def free_memory_bytes(device: torch.device) -> int:
    """Memory that can still be allocated on ``device``; the smaller of machine and control group on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _linux_available_bytes()
    limit = _control_group_free_bytes()
    return min(free, limit) if limit is not None else free


def _linux_available_bytes() -> int:
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 4 << 30


def _control_group_free_bytes() -> int | None:
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            limit = file.read().strip()
        with open("/sys/fs/cgroup/memory.current") as file:
            current = int(file.read())
        return None if limit == "max" else max(int(limit) - current, 0)
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes that a training step needs, by what needs them. An estimate to choose sizes by, not a promise."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    micro_batch_tokens: int

    @property
    def total(self) -> int:
        """The sum of the four parts."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = ("weights", "gradients", "optimizer", "activations")
        told = ", ".join(f"{name} {getattr(self, name) / 2**20:.0f} MiB" for name in parts)
        return f"{self.total / 2**20:.0f} MiB ({told}) at {self.micro_batch_tokens} tokens a micro-batch"


_MAX_MICRO_BATCH_TOKENS = 8192
_MIN_MICRO_BATCH_TOKENS = 256


def memory_plan(
    policy: Policy, *, micro_batch_tokens: int | None = None, optimizer: Literal["adamw"] | None = "adamw"
) -> MemoryPlan:
    """What a step of ``policy`` needs; without ``micro_batch_tokens``, at the most that half the free memory holds.

    Activations a token, in float32: per layer about 16 vectors of the hidden size and 3 of the feed-forward size, and
    four times the vocabulary for logits, log-softmax and their gradients. ``optimizer=None``: inference only.
    """
    weights = sum(p.numel() * p.element_size() for p in policy.model.parameters())
    trained = sum(p.numel() * p.element_size() for p in policy.trainable().values()) if optimizer else 0
    per_token = _activation_bytes_per_token(policy.model.config.get_text_config(), training=bool(optimizer))
    if micro_batch_tokens is None:
        room = free_memory_bytes(policy.device) // 2 - 3 * trained
        micro_batch_tokens = min(max(room // per_token, _MIN_MICRO_BATCH_TOKENS), _MAX_MICRO_BATCH_TOKENS)
    return MemoryPlan(
        weights=weights,
        gradients=trained,
        optimizer=2 * trained,
        activations=per_token * micro_batch_tokens,
        micro_batch_tokens=micro_batch_tokens,
    )


def _activation_bytes_per_token(config: Any, *, training: bool) -> int:
    hidden = int(config.hidden_size)
    feed_forward = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    layers = int(config.num_hidden_layers) if training else 1
    return 4 * (layers * (16 * hidden + 3 * feed_forward) + (4 if training else 2) * int(config.vocab_size))


@contextmanager
def memory_advice(micro_batch_tokens: int | None) -> Iterator[None]:
    """Turn every form of "out of memory" into a MemoryLimitError that names the setting to lower."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise MemoryLimitError(
            "the device ran out of memory",
            where=f"a micro-batch of {micro_batch_tokens} tokens" if micro_batch_tokens else "",
            why=(str(error).strip().splitlines() or ["no memory left"])[0],
            do="lower micro_batch_tokens (the result stays the same), shorten max_length, or train with LoRA",
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
