"""Drawing completions from a policy; importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strop.sampling.seeds import row_seed

if TYPE_CHECKING:
    from strop.sampling.torch_sampler import TorchSampler

__all__ = ["TorchSampler", "row_seed"]


def __getattr__(name: str) -> object:
    if name == "TorchSampler":
        from strop.sampling.torch_sampler import TorchSampler

        return TorchSampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
