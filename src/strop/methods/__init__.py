"""The methods: each is one function that returns a stream of batches and the objective that belongs to it.

Importing this package imports neither torch nor any method; a name is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.methods.preference import dpo
    from strop.methods.rl import dr_grpo, grpo
    from strop.methods.rows import num_steps
    from strop.methods.supervised import sft

__all__ = ["dpo", "dr_grpo", "grpo", "num_steps", "sft"]

_MODULES = {"dpo": "preference", "dr_grpo": "rl", "grpo": "rl", "num_steps": "rows", "sft": "supervised"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"strop.methods.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
