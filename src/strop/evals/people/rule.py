"""What a release may ask of people: ``people = { ... }`` in a gate."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PeopleRule(BaseModel):
    """How sure a session must make us. Without a session of exactly these two models nothing is decided."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_pairs: int = Field(default=100, ge=1)
    """Pairs that somebody judged; fewer are INSUFFICIENT."""
    min_annotators: int = Field(default=1, ge=1)
    """People whose judgements count."""
    min_win_rate: float | None = Field(default=None, ge=0, le=1)
    """The candidate's win rate (a tie is ½) must be at least this."""
    margin: float | None = Field(default=None, gt=0, lt=0.5)
    """The candidate must be shown not to lose by more: the 95 % interval of the win rate lies above ½ - margin. All
    of it below blocks, anything between is INSUFFICIENT."""
    max_age_days: float | None = Field(default=90, gt=0)
    """How old the last judgement may be."""
