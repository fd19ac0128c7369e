"""Folders of evidence and who reads them: what ``strop gate --evidence FOLDER`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from strop.errors import MismatchError
from strop.evals.gating.evidence import Evidence
from strop.evals.gating.evidence_folder import read_evidence_json
from strop.evals.judging.evidence import KIND as JUDGE
from strop.evals.judging.evidence import JudgedSuites, JudgeEvidence, RubricEvidence
from strop.evals.judging.evidence import read_evidence as read_judge_evidence
from strop.evals.people.evidence import KIND as PEOPLE
from strop.evals.people.evidence import read_people_evidence
from strop.evals.red_team.evidence import KIND as RED_TEAM
from strop.evals.red_team.evidence import read_red_team_evidence
from strop.evals.results import SuiteResult

READERS: dict[str, Callable[[Path], Evidence]] = {
    JUDGE: read_judge_evidence,
    PEOPLE: read_people_evidence,
    RED_TEAM: read_red_team_evidence,
}
"""The ``kind`` of an ``evidence.json`` → what reads its folder."""


def read_evidence(
    folder: Path | str,
    candidate: Mapping[str, SuiteResult] | None = None,
    baseline: Mapping[str, SuiteResult] | None = None,
) -> Evidence:
    """The evidence in ``folder``, checked to be about ``candidate``, and a judge's to be against ``baseline``.

    Raises: MismatchError if it is missing, edited, of an unknown kind, or about other results than those.
    """
    whole = read_evidence_json(folder)
    reader = READERS.get(whole["kind"])
    if reader is None:
        raise MismatchError(
            f"the evidence in {folder} is of kind {whole['kind']!r}",
            where=str(folder),
            why=f"the gate reads {', '.join(sorted(READERS)) or 'none yet'}",
            do="make it again with this version of strop",
        )
    if candidate is not None:
        _require_about("candidate", whole["about"], candidate, folder, whole["kind"])
    found = reader(Path(folder))
    if isinstance(found, JudgedSuites):
        _require_judged(found, candidate, baseline, folder)
    return found


def _require_about(
    side: str, about: Mapping[str, str], results: Mapping[str, SuiteResult], folder: Path | str, kind: str
) -> None:
    for suite, digest in about.items():
        found = results.get(suite)
        if found is None or found.digest != digest:
            have = "was not given to the gate" if found is None else f"is {found.digest[:12]} here"
            raise MismatchError(
                f"the {kind} evidence is about another {side}",
                where=str(folder),
                why=f"it speaks of result {digest[:12]} on suite {suite}, which {have}",
                do="gate the results that it was made from, or make it again",
            )


def _require_judged(
    evidence: JudgedSuites,
    candidate: Mapping[str, SuiteResult] | None,
    baseline: Mapping[str, SuiteResult] | None,
    folder: Path | str,
) -> None:
    """A preference is over one baseline, and how a judge stands is said of the judge whose values the results hold."""
    for part in evidence.parts:
        if isinstance(part, JudgeEvidence) and baseline is not None:
            _require_about("baseline", {part.result.suite: part.result.baseline}, baseline, folder, JUDGE)
        if isinstance(part, RubricEvidence) and candidate is not None:
            found = candidate.get(part.suite)
            if found is None or found.digests.get("judge") != part.standing.judge:
                raise MismatchError(
                    "the judge evidence is about another judge",
                    where=str(folder),
                    why=f"the candidate's results on suite {part.suite} were not judged by {part.standing.judge[:12]}",
                    do="give the evidence of the judge that measured them",
                )
