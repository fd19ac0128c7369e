"""People compare two models' answers, blind: sessions, analysis, pairs for training, evidence for the gate."""

from strop.evals.people.evidence import (
    PeopleEvidence,
    bind_people,
    read_people_evidence,
    require_people,
    write_people_evidence,
)
from strop.evals.people.exports import Exported, anchors, write_preferences
from strop.evals.people.report import PeopleReport, WinRate, analyse, rate_models
from strop.evals.people.rubric import DEFAULT, Aspect, Rubric, parse_rubric, read_rubric
from strop.evals.people.rule import PeopleRule
from strop.evals.people.sample_set import Pair, Plan, sample_set
from strop.evals.people.session import Session, Side
from strop.evals.people.store import Judgement
from strop.evals.people.votes import Tally, tally

__all__ = [
    "DEFAULT",
    "Aspect",
    "Exported",
    "Judgement",
    "Pair",
    "PeopleEvidence",
    "PeopleReport",
    "PeopleRule",
    "Plan",
    "Rubric",
    "Session",
    "Side",
    "Tally",
    "WinRate",
    "analyse",
    "anchors",
    "bind_people",
    "parse_rubric",
    "rate_models",
    "read_people_evidence",
    "read_rubric",
    "require_people",
    "sample_set",
    "tally",
    "write_people_evidence",
    "write_preferences",
]
