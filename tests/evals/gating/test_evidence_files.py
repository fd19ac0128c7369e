"""Folders of evidence are heard about the very results that they were made from, on both sides."""

from dataclasses import replace
from pathlib import Path

import pytest

from judged_pairs import ANCHORS, BAD, GOOD, fair, judge_of, results
from strop.errors import MismatchError
from strop.evals.gating.evidence_files import read_evidence
from strop.evals.judging import RubricEvidence, judge_suite, write_judge_evidence
from strop.pipeline.heard import hear
from strop.pipeline.workspace import Workspace
from strop.types import Check


def test_a_preference_over_one_baseline_says_nothing_of_another(tmp_path: Path) -> None:
    mine, weak, strong = (
        results([answer] * 40, model=model) for answer, model in ((GOOD, "new"), (BAD, "weak"), (GOOD, "strong"))
    )
    write_judge_evidence(tmp_path, [judge_suite(mine, weak, judge_of(fair), anchors=ANCHORS)])
    assert read_evidence(tmp_path, {"finance": mine}, {"finance": weak}).findings()
    for other in ({"finance": strong}, {}):
        with pytest.raises(MismatchError, match="about another baseline"):
            read_evidence(tmp_path, {"finance": mine}, other)
    (told,) = hear(["."] * 2, {"finance": mine}, Workspace(home=tmp_path, root=tmp_path), {"finance": strong})
    (check,) = told.findings()
    assert isinstance(check, Check)
    assert (check.outcome, "about another baseline" in check.reason) == ("INSUFFICIENT", True)


def test_how_one_judge_stands_says_nothing_of_values_that_another_gave(tmp_path: Path) -> None:
    mine = results([GOOD] * 40, model="new")
    standing = judge_suite(mine, mine, judge_of(fair), anchors=ANCHORS).standing
    rated = {judge: replace(mine, digests={**mine.digests, "judge": judge}) for judge in (standing.judge, "another")}
    write_judge_evidence(tmp_path, [], [RubricEvidence.of(rated[standing.judge], standing)])
    assert read_evidence(tmp_path, {"finance": rated[standing.judge]}).findings()
    for other in (rated["another"], mine):
        with pytest.raises(MismatchError, match="about another judge"):
            read_evidence(tmp_path, {"finance": other})
