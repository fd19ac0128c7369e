"""What a stage needs of memory and time, guessed from the model's shape and this machine's speed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strop.models import LoRA, Policy
    from strop.models.hardware import MemoryPlan

# shares of the measured matrix-product speed that training and one-token decoding reach; rough on purpose
_TRAIN_EFFICIENCY = 0.3
_DECODE_EFFICIENCY = 0.03
_STEP_OVERHEAD_S = 0.05
_MEASURE_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a stage does, in tokens."""

    num_steps: int
    num_tokens: int
    """Trained on, over all steps; what is sampled is counted at its longest."""
    num_sampled: int
    num_read: int
    """Only run forward: reference log-probabilities."""


class Estimates:
    """Of one base on this machine. The model is built without its weights: enough to count."""

    def __init__(self, source: str) -> None:
        from strop.models import adapters, folders, names

        folder = names.local_folder(source)
        self.given_lora: LoRA | None = None
        """The adapter that the base brings."""
        if names.is_adapter(folder):
            config = adapters.read_config(folder)
            self.given_lora = adapters.described(config)
            found = folders.find_base(folder, config).folder
            assert found is not None
            folder = found
        self._folder = folder
        self._shapes: dict[LoRA | None, Policy] = {}
        plain = self._shape(None)
        self.num_parameters: int = sum(parameter.numel() for parameter in plain.model.parameters())
        self.device, self.dtype = str(plain.device), str(plain.dtype).removeprefix("torch.")
        self._speed = matmul_speed(plain.device)

    def memory(self, lora: LoRA | None, micro_batch_tokens: int | None) -> MemoryPlan:
        """What a training step needs."""
        from strop.models import hardware

        return hardware.memory_plan(self._shape(lora), micro_batch_tokens=micro_batch_tokens)

    def seconds(self, work: Work, lora: LoRA | None) -> float:
        """Two operations a parameter and token forward, four backward; two fewer where weights are frozen."""
        per_token = 4 if lora else 6
        trained = self.num_parameters * (per_token * work.num_tokens + 2 * work.num_read)
        sampled = 2 * self.num_parameters * work.num_sampled
        busy = trained / (self._speed * _TRAIN_EFFICIENCY) + sampled / (self._speed * _DECODE_EFFICIENCY)
        return busy + work.num_steps * _STEP_OVERHEAD_S

    def _shape(self, lora: LoRA | None) -> Policy:
        """A policy on the meta device."""
        if lora not in self._shapes:
            self._shapes[lora] = self._build(lora)
        return self._shapes[lora]

    def _build(self, lora: LoRA | None) -> Policy:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from strop.models import Policy, adapters, hardware

        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(self._folder))
        if lora is not None:
            model = adapters.attach(model, lora, seed=0)
        device = hardware.choose_device()
        dtype = hardware.choose_dtype("auto", device, int(model.config.get_text_config().hidden_size))
        # only counted, never run: it needs no template
        return Policy(model, None, device=device, dtype=dtype, lora=lora)  # type: ignore[arg-type]


def matmul_speed(device: Any) -> float:
    """Floating-point operations a second of a float32 matrix product here and now."""
    import torch

    size = 512
    left, right = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    left @ right
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < _MEASURE_S:
        float((left @ right)[0, 0])
        count += 1
    return 2 * size**3 * count / elapsed
