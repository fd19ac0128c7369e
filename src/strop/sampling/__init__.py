"""Drawing completions from a policy; importing this package does not import torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from strop.sampling.seeds import row_seed

if TYPE_CHECKING:
    from strop.sampling.adapters import read_adapter
    from strop.sampling.decoding import Adapter
    from strop.sampling.engine import Engine
    from strop.sampling.gap import GapMonitor, calibrate
    from strop.sampling.remote import RemoteSampler, VllmSampler
    from strop.sampling.requests import Event, Request
    from strop.sampling.torch_sampler import TorchSampler

__all__ = [
    "Adapter",
    "Engine",
    "Event",
    "GapMonitor",
    "RemoteSampler",
    "Request",
    "TorchSampler",
    "VllmSampler",
    "calibrate",
    "read_adapter",
    "row_seed",
]

_HOMES = {
    "Adapter": "decoding",
    "Engine": "engine",
    "Event": "requests",
    "GapMonitor": "gap",
    "RemoteSampler": "remote",
    "Request": "requests",
    "TorchSampler": "torch_sampler",
    "VllmSampler": "remote",
    "calibrate": "gap",
    "read_adapter": "adapters",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"strop.sampling.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
