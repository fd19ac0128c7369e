"""Asking a verifier whether it can judge at all, before answers are sampled for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from strop.types import Task, Verifier
from strop.verifiers.pool import JointVerifier


@runtime_checkable
class DemandingVerifier(Protocol):
    """A verifier that needs something of the machine: a sandbox, a proof assistant."""

    def require_ready(self, tasks: Sequence[Task]) -> None:
        """Open what these tasks need. Raises: the UserError that says what is missing."""


def require_ready(verifier: Verifier, tasks: Sequence[Task]) -> None:
    """Nothing if the verifier, and each of its ``members``, can judge answers to these tasks on this machine.

    A verifier without ``require_ready`` needs nothing. Without this call the lack shows only at the first answer that
    must be looked into: a model whose answers are all cut off or hold no proof would score 0 and nobody would be told.
    Raises: the UserError that says what is missing.
    """
    if isinstance(verifier, JointVerifier):
        for member in verifier.members:
            require_ready(member, tasks)
    if isinstance(verifier, DemandingVerifier):
        verifier.require_ready(tasks)
