"""The drift checks: a literal table, one entry for everything that may change while the weights stay the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from strop.digests import digest_json
from strop.evals.drift.parts import check_decoding, check_index, check_template, check_tokenizer, check_tools
from strop.evals.drift.surroundings import Surroundings, surroundings_of
from strop.evals.results import SuiteResult
from strop.types import Check

if TYPE_CHECKING:
    from strop.evals.gating.config import GateConfig


class DriftCheck(Protocol):
    """Compares one thing that stands around the weights."""

    def __call__(self, candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool, /) -> Sequence[Check]:
        """A check of outcome BLOCK for what differs, told in its reason; nothing where nothing does."""


CHECKS: Mapping[str, DriftCheck] = {
    "template": check_template,
    "tokenizer": check_tokenizer,
    "tools": check_tools,
    "index": check_index,
    "decoding": check_decoding,
}
SWITCHES: Mapping[str, str] = {
    "template": "allow_template_change",
    "tokenizer": "allow_template_change",
    "tools": "allow_tool_change",
    "index": "allow_index_change",
}
"""The check → the gate's setting that lets its change pass, told and not hidden."""


def find_drift(
    candidate: Surroundings,
    baseline: Surroundings,
    *,
    allowed: frozenset[str] = frozenset(),
    checks: Mapping[str, DriftCheck] = CHECKS,
) -> list[Check]:
    """What changed around the weights; what is ``allowed`` (names of checks) passes, and stays visible."""
    unchanged = candidate.weights == baseline.weights
    found: list[Check] = []
    for name, compare in checks.items():
        for check in compare(candidate, baseline, unchanged):
            if name in allowed:
                reason = f"allowed by {SWITCHES.get(name, name)}: {check.reason}"
                found.append(replace(check, outcome="PASS", reason=reason))
            else:
                found.append(check)
    return found


def drift_checks(candidate: SuiteResult, baseline: SuiteResult, config: GateConfig | None = None) -> list[Check]:
    """What changed around the weights between the two results; a hard block unless the gate's settings allow it."""
    allowed = frozenset(name for name, switch in SWITCHES.items() if getattr(config, switch, False))
    return find_drift(surroundings_of(candidate), surroundings_of(baseline), allowed=allowed)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """``gating.Evidence``: what stands around a candidate's weights, held against the baseline's."""

    candidate: Surroundings
    baseline: Surroundings
    allowed: frozenset[str] = frozenset()
    checks: Mapping[str, DriftCheck] = field(default_factory=lambda: CHECKS)

    @property
    def name(self) -> str:
        """For the report."""
        return f"drift of {self.candidate.name}"

    @property
    def digest(self) -> str:
        """Identity of both sides and of what is allowed."""
        return digest_json([self.candidate.digest, self.baseline.digest, sorted(self.allowed), list(self.checks)])

    def findings(self) -> list[Check]:
        """A check for everything that changed; none where nothing did."""
        return find_drift(self.candidate, self.baseline, allowed=self.allowed, checks=self.checks)


def drift(candidate: SuiteResult, baseline: SuiteResult, *, allowed: frozenset[str] = frozenset()) -> Drift:
    """The drift between two results as evidence for a gate."""
    return Drift(candidate=surroundings_of(candidate), baseline=surroundings_of(baseline), allowed=allowed)
