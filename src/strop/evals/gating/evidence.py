"""What the gate hears beside the suites (people, judges, drift checks, ledgers): checks, or tests to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from strop.types import Check, Json


@dataclass(frozen=True, kw_only=True)
class BlockingTest:
    """A test that blocks if it rejects "the candidate is no worse", after Holm's correction over all such tests."""

    name: str
    p_value: float
    """One-sided."""
    told: str
    """The numbers in words, without the verdict."""
    numbers: Json = field(default_factory=dict)


class Evidence(Protocol):
    """Something that was measured elsewhere and bears on the release; the gate report keeps its name and digest."""

    @property
    def name(self) -> str:
        """For the report."""

    @property
    def digest(self) -> str:
        """Identity of the content."""

    def findings(self) -> Sequence[Check | BlockingTest]:
        """What follows from it for the candidate."""
