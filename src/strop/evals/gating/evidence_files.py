"""Folders of evidence and who reads them: what ``strop gate --evidence FOLDER`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from strop.errors import MismatchError
from strop.evals.gating.evidence import Evidence
from strop.evals.gating.evidence_folder import read_evidence_json
from strop.evals.judging.evidence import KIND as JUDGE
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


def read_evidence(folder: Path | str, candidate: Mapping[str, SuiteResult] | None = None) -> Evidence:
    """The evidence in ``folder``, checked to be about ``candidate``.

    Raises: MismatchError if it is missing, edited, of an unknown kind, or about other results than the candidate's.
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
    for suite, digest in whole["about"].items() if candidate is not None else ():
        found = (candidate or {}).get(suite)
        if found is None or found.digest != digest:
            have = "was not given to the gate" if found is None else f"is {found.digest[:12]} here"
            raise MismatchError(
                f"the {whole['kind']} evidence is about another candidate",
                where=str(folder),
                why=f"it speaks of result {digest[:12]} on suite {suite}, which {have}",
                do="gate the results that it was made from, or make it again",
            )
    return reader(Path(folder))
