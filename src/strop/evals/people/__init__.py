"""People compare two models' answers, blind: sessions, analysis, pairs for training, evidence for the gate."""

from strop.evals.people.rubric import DEFAULT, Aspect, Rubric, parse_rubric, read_rubric
from strop.evals.people.sample_set import Pair, Plan, sample_set
from strop.evals.people.session import Session, Side
from strop.evals.people.store import Judgement

__all__ = [
    "DEFAULT",
    "Aspect",
    "Judgement",
    "Pair",
    "Plan",
    "Rubric",
    "Session",
    "Side",
    "parse_rubric",
    "read_rubric",
    "sample_set",
]
