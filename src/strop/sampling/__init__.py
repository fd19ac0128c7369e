"""Drawing completions from a policy; importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.sampling.torch_sampler import TorchSampler

__all__ = ["TorchSampler"]


def __getattr__(name: str) -> object:
    if name == "TorchSampler":
        from strop.sampling.torch_sampler import TorchSampler

        return TorchSampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
