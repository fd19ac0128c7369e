"""AdamW and its settings.

Source: Loshchilov & Hutter, 1711.05101, algorithm 2, in ``torch.optim.AdamW``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from strop.errors import MismatchError, RecipeError
from strop.training.schedule import Schedule, lr_factor

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """How gradients change weights. Matrices decay if asked; vectors (norms, biases) never do."""

    lr: float
    schedule: Schedule = "constant"
    warmup: float = 0.03
    """Share of the steps over which the rate rises linearly."""
    min_lr_ratio: float = 0.0
    """Where the decay ends, as a share of ``lr``."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """The global gradient norm is clipped to it; ``inf`` never clips."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        self._require("lr", self.lr >= 0 and math.isfinite(self.lr), "a finite number, at least 0")
        self._require("schedule", self.schedule in get_args(Schedule), f"one of {', '.join(get_args(Schedule))}")
        self._require("warmup", 0 <= self.warmup < 1, "a share of the steps in [0, 1)")
        self._require("min_lr_ratio", 0 <= self.min_lr_ratio <= 1, "a share of lr in [0, 1]")
        self._require("weight_decay", self.weight_decay >= 0, "at least 0")
        self._require("max_grad_norm", self.max_grad_norm > 0, "positive; inf switches clipping off")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise RecipeError(f"optimizer {name} is {getattr(self, name)}", do=f"use {wanted}")

    def learning_rate(self, t: int, num_steps: int) -> float:
        """The rate of the step that follows ``t`` completed ones."""
        factor = lr_factor(self.schedule, t, num_steps, warmup=self.warmup, min_lr_ratio=self.min_lr_ratio)
        return self.lr * factor

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.AdamW:
        """The torch optimizer over ``parameters``, with its state still empty."""
        decayed = [p for p in parameters.values() if p.dim() > 1]
        plain = [p for p in parameters.values() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters.values())
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=self.lr, betas=self.betas, eps=self.eps, fused=fused
        )


def moments(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state by parameter name: ``<name>:exp_avg``, ``:exp_avg_sq`` and ``:step``."""
    return {
        f"{name}:{key}": optimizer.state[parameter][key]
        for name, parameter in parameters.items()
        for key in _MOMENTS
        if parameter in optimizer.state
    }


def load_moments(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], saved: Mapping[str, Tensor]
) -> None:
    """Set the optimizer's state to what ``moments`` returned. Raises: MismatchError for other parameters."""
    unknown = sorted({key.rpartition(":")[0] for key in saved} - parameters.keys())
    if unknown:
        raise MismatchError(
            "the optimizer state belongs to another model",
            why=f"it has moments for {unknown[0]}, which is not trained here",
            do="resume with the model and LoRA settings that the run began with",
        )
    for name, parameter in parameters.items():
        state = {key: saved[f"{name}:{key}"] for key in _MOMENTS if f"{name}:{key}" in saved}
        if state:
            optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
