"""What a task may use and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from strop.errors import SandboxError

Tier = Literal["namespaces", "landlock", "limits"]
"""What isolates a task: namespaces of its own, Landlock, or resource limits alone, which do not."""

TIERS: tuple[Tier, ...] = ("namespaces", "landlock", "limits")
"""Strongest first."""

State = Literal["exited", "timeout", "cpu", "memory", "output", "killed", "infrastructure"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one task may use, its whole process tree unless said otherwise.

    No tier bounds the memory of all processes together other than by ``memory_mb * processes``, plus ``scratch_mb``
    where the files are in memory (tier ``namespaces``). Raises: SandboxError if one is not a positive number, or not
    a whole one where it must be.
    """

    wall_s: float = 5.0
    cpu_s: float = 5.0
    """Processor time of one process."""
    memory_mb: int = 256
    """Address space of one process."""
    processes: int = 8
    """Processes and threads at one time."""
    file_mb: int = 8
    """Size of one file, and of one line that a session answers."""
    output_kb: int = 64
    """Of standard output, and of standard error."""
    scratch_mb: int = 16
    """All files together."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            whole = each.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 < value < 1e9:
                do = f"give a positive {'whole number' if whole else 'number'}"
                raise SandboxError(f"the limit {each.name} is {value!r}", do=do)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended, with nothing of it left running.

    ``exited``: by itself, with ``exit_code``; ``timeout``, ``cpu``, ``memory``, ``output``: at that limit (``output``
    is also files); ``killed``: by a signal or by ``Session.end``; ``infrastructure``: the sandbox failed or was
    closed meanwhile, and nothing is known about the program.
    """

    state: State
    exit_code: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of all processes of the tree."""
    tier: Tier
    reason: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What was to be kept and was there."""


class SessionEnded(Exception):
    """The task is over; ``outcome`` says how."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(f"{outcome.state}: {outcome.reason}")
