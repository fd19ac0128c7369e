"""The guard against losses and gradients that are not numbers: it names the sample and keeps the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from strop import batches
from strop.errors import NonFiniteError
from strop.types import Batch

_MAX_NAMES = 8

Backward = Callable[[Batch], float]
"""Runs forward and backward of one micro-batch and returns its loss."""


def culprits(micro_batches: Iterable[Batch], parameters: Mapping[str, nn.Parameter], backward: Backward) -> list[str]:
    """The rows whose loss or gradient is not finite when their group runs alone; groups are never torn apart."""
    found: list[str] = []
    for micro_batch in micro_batches:
        for group in batches.split(micro_batch, 1):
            _forget(parameters)
            loss = backward(group)
            if not (math.isfinite(loss) and _are_finite(parameters)):
                found.extend(group.names)
    _forget(parameters)
    return found


def _are_finite(parameters: Mapping[str, nn.Parameter]) -> bool:
    return all(bool(torch.isfinite(p.grad).all()) for p in parameters.values() if p.grad is not None)


def _forget(parameters: Mapping[str, nn.Parameter]) -> None:
    for parameter in parameters.values():
        parameter.grad = None


def require_finite_weights(step: int, parameters: Mapping[str, nn.Parameter]) -> None:
    """Refuse to keep weights that an update has broken. Raises: NonFiniteError naming the first of them."""
    for name, parameter in parameters.items():
        if not bool(torch.isfinite(parameter).all()):
            raise NonFiniteError(
                f"the weights after step {step} are not finite",
                where=name,
                why="gradients were finite, so the update itself overflowed",
                do="lower lr and resume from the last checkpoint, which is good",
            )


def non_finite(step: int, loss: float, grad_norm: float, names: list[str], all_names: Iterable[str]) -> NonFiniteError:
    """The error of a step that cannot be taken."""
    subject = (
        f"the gradient norm of step {step} is {grad_norm}"
        if math.isfinite(loss)
        else f"the loss of step {step} is {loss}"
    )
    told = names or list(all_names)
    rest = len(told) - _MAX_NAMES
    alone = "each of these rows gives it when its group runs alone"
    together = "no row gives it alone; these are all rows of the step"
    return NonFiniteError(
        subject,
        where="rows " + ", ".join(told[:_MAX_NAMES]) + (f" and {rest} more" if rest > 0 else ""),
        why=alone if names else together,
        do="inspect or drop these rows, or lower lr; weights and checkpoints are those before the step",
    )
