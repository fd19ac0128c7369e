"""Models: loading, running, adapting and saving a policy."""

from strop.models.adapters import LoRA
from strop.models.exporting import export
from strop.models.names import resolve
from strop.models.policy import Policy

__all__ = ["LoRA", "Policy", "export", "resolve"]
