"""Evidence that a recipe names: folders of people's and judges' word on the candidate, heard if they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.pipeline.evaluation import Results
from strop.pipeline.workspace import Workspace
from strop.types import Check

if TYPE_CHECKING:
    from strop.evals.gating.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class NotHeard:
    """``gating.Evidence`` that was asked for and cannot be used: not enough to decide by."""

    name: str
    why: str

    @property
    def digest(self) -> str:
        """Identity of what is missing, and why."""
        return digest_json([self.name, self.why])

    def findings(self) -> list[Check]:
        """One check that is INSUFFICIENT."""
        return [Check(name=self.name, outcome="INSUFFICIENT", reason=self.why)]


def hear(
    folders: Sequence[str], candidate: Results, workspace: Workspace, baseline: Results | None = None
) -> list[Evidence]:
    """The evidence in each folder; missing, torn, or about other models, it is ``NotHeard`` and says so.

    A run has trained its candidate before anybody can have judged it: that nobody has yet is no error.
    """
    from strop.evals.gating.evidence_files import read_evidence

    found: list[Evidence] = []
    for folder in dict.fromkeys(folders):
        place = workspace.path(folder)
        try:
            if not place.exists():
                raise MismatchError(f"there is no {folder} yet", do="make it from this run's results, then run again")
            found.append(read_evidence(place, candidate, baseline))
        except MismatchError as error:
            why = "; ".join(part for part in (error.what, error.why, error.do) if part)
            found.append(NotHeard(name=f"evidence {folder}", why=why))
    return found
