"""Judges in evaluation: held to people, asked in both orders, and without a say where people do not bear them out."""

from strop.evals.judging.anchor_files import (
    pair_anchors,
    read_anchor_report,
    read_anchors,
    write_anchor_report,
    write_anchors,
)
from strop.evals.judging.compare import judge_suite
from strop.evals.judging.evidence import JudgeEvidence, RubricEvidence, read_evidence, write_judge_evidence
from strop.evals.judging.items import JudgedItem, LengthEffect, WinRate
from strop.evals.judging.result import JudgeResult
from strop.evals.judging.rubric import judge_rubric, with_one_judge
from strop.evals.judging.standing import Limits, Standing, hold_to_people

__all__ = [
    "JudgeEvidence",
    "JudgeResult",
    "JudgedItem",
    "LengthEffect",
    "Limits",
    "RubricEvidence",
    "Standing",
    "WinRate",
    "hold_to_people",
    "judge_rubric",
    "judge_suite",
    "pair_anchors",
    "read_anchor_report",
    "read_anchors",
    "read_evidence",
    "with_one_judge",
    "write_anchor_report",
    "write_anchors",
    "write_judge_evidence",
]
