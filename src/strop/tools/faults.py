"""Injected errors: the same seed breaks the same calls, so that recovery can be trained and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from strop.errors import ToolError

FaultKind = Literal["timeout", "error", "malformed", "rate_limit"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

FAULT_REASONS: Mapping[FaultKind, str] = {
    "timeout": "the service did not answer in time",
    "error": "the service answered with status 500",
    "malformed": "the service's answer is not JSON",
    "rate_limit": "too many requests, status 429",
}
"""What the model reads; every one of them may be gone at the next try."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Which tries of a session break, and how. Raises: ToolError for a rate or kind that is none.

    Try n (from 0, over all tools of the session) breaks by ``plan`` where that names n, otherwise with probability
    ``rate``, drawn from (seed, n) alone: neither other calls nor other sessions change it. A broken try changes
    nothing in the world: the fault lies before the service, or in an answer that is then undone.
    """

    rate: float = 0.0
    kinds: tuple[FaultKind, ...] = FAULT_KINDS
    seed: int = 0
    tools: tuple[str, ...] | None = None
    """Only these tools break; None: all."""
    plan: Mapping[int, FaultKind | None] = field(default_factory=dict)
    """Try → what happens to it; None: nothing."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise ToolError(f"the rate of faults is {self.rate}", do="choose it between 0 and 1")
        unknown = ({*self.kinds} | {kind for kind in self.plan.values() if kind}) - {*FAULT_KINDS}
        if unknown or not self.kinds:
            raise ToolError(f"there is no fault {sorted(unknown)}", do=f"choose from {', '.join(FAULT_KINDS)}")

    def at(self, number: int, tool: str) -> FaultKind | None:
        """What breaks try ``number``, which calls ``tool``; None: nothing."""
        if self.tools is not None and tool not in self.tools:
            return None
        if number in self.plan:
            return self.plan[number]
        drawn = hashlib.sha256(f"fault/{self.seed}/{number}".encode()).digest()
        if int.from_bytes(drawn[:8], "big") >= self.rate * 2**64:
            return None
        return self.kinds[int.from_bytes(drawn[8:16], "big") % len(self.kinds)]
