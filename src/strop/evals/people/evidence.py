"""A labelling session as evidence for the gate, bound to the two models' digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.gating.evidence import BlockingTest, Evidence
from strop.evals.gating.evidence_folder import read_evidence_json, write_evidence_json
from strop.evals.people.rule import PeopleRule
from strop.evals.people.votes import MAX_MISSED
from strop.types import Check

KIND = "people"


@dataclass(frozen=True, kw_only=True)
class PeopleEvidence:
    """What people said of two models, and what is asked of it."""

    session: str
    """The session's digest: what was asked and all that was answered."""
    candidate: str
    """The candidate's model digest."""
    baseline: str
    suite: str
    wins: int
    ties: int
    losses: int
    num_identical: int
    """Of the ties: pairs whose answers were the same, which nobody was shown."""
    annotators: tuple[str, ...]
    excluded: tuple[str, ...]
    last: str
    """When the last judgement was saved, in UTC; empty without any."""
    max_missed: float = MAX_MISSED
    """The share of attention checks above which an annotator was excluded."""
    rule: PeopleRule = field(default_factory=PeopleRule)
    name: str = KIND

    @property
    def digest(self) -> str:
        """Identity of the content."""
        return digest_json(self.content())

    def content(self) -> dict[str, Any]:
        """All that was found, without what is asked of it, in JSON terms."""
        content = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "rule"}
        return {**content, "annotators": list(self.annotators), "excluded": list(self.excluded)}

    @property
    def num_judged(self) -> int:
        """Pairs that count and that somebody was shown."""
        return self.wins + self.ties + self.losses - self.num_identical

    def findings(self) -> Sequence[Check | BlockingTest]:
        """As ``findings_at`` for the present moment."""
        return self.findings_at(datetime.now(UTC))

    def findings_at(self, now: datetime) -> list[Check | BlockingTest]:
        """Whether there is enough, what is asked of the win rate, and the test that people prefer the baseline."""
        lacking = self._lacking(now)
        if lacking:
            return [self._check("INSUFFICIENT", "enough", "; ".join(lacking))]
        found: list[Check | BlockingTest] = [self._check("PASS", "enough", f"{self.num_judged} pairs were judged")]
        found += self._rate_checks()
        found.append(self._preference_test())
        return found

    def _lacking(self, now: datetime) -> list[str]:
        rule, lacking = self.rule, []
        if self.num_judged < rule.min_pairs:
            lacking.append(f"{self.num_judged} pairs were judged; at least {rule.min_pairs} are asked for")
        if len(self.annotators) < rule.min_annotators:
            out = f" ({len(self.excluded)} excluded for missed attention checks)" if self.excluded else ""
            lacking.append(f"{len(self.annotators)} annotators{out}; at least {rule.min_annotators} are asked for")
        if self.last and rule.max_age_days is not None:
            age = (now - datetime.fromisoformat(self.last)).total_seconds() / 86400
            if age > rule.max_age_days:
                lacking.append(f"the last judgement is {age:.0f} days old; at most {rule.max_age_days:g} are allowed")
        return lacking

    def _rate_checks(self) -> list[Check]:
        from strop.statistics import win_rate

        value, interval = win_rate(self.wins, self.ties, self.losses)
        told = f"win rate {value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
        numbers = {"value": value, "low": interval.low, "high": interval.high}
        checks = []
        if (floor := self.rule.min_win_rate) is not None:
            asked = f"{told}, at least {floor:g} is asked for"
            checks.append(self._check("PASS" if value >= floor else "BLOCK", "win rate", asked, numbers))
        if (margin := self.rule.margin) is not None:
            bound = 0.5 - margin
            outcome = "PASS" if interval.low > bound else "BLOCK" if interval.high < bound else "INSUFFICIENT"
            asked = f"{told}; to be no worse by {margin:g} it must lie above {bound:g}"
            checks.append(self._check(outcome, "not worse", asked, numbers))
        return checks

    def _preference_test(self) -> BlockingTest:
        """The exact sign test, one-sided: ties say nothing of the direction."""
        from math import comb

        n = self.wins + self.losses
        p_value = sum(comb(n, k) for k in range(self.wins + 1)) / 2**n
        told = (
            f"people preferred the candidate {self.wins} times and the baseline {self.losses} times ({self.ties} ties)"
        )
        return BlockingTest(
            name=f"people on {self.suite}: the baseline is preferred",
            p_value=p_value,
            told=told,
            numbers=self._numbers(),
        )

    def _check(self, outcome: str, what: str, reason: str, numbers: dict[str, Any] | None = None) -> Check:
        return Check(
            name=f"people on {self.suite}: {what}",
            outcome=outcome,  # type: ignore[arg-type]
            reason=reason,
            numbers={**self._numbers(), **(numbers or {})},
        )

    def _numbers(self) -> dict[str, Any]:
        counts = {"session": self.session, "wins": self.wins, "ties": self.ties, "losses": self.losses}
        people = {"annotators": len(self.annotators), "excluded": len(self.excluded), "max_missed": self.max_missed}
        return {**counts, **people}


def write_people_evidence(folder: Path | str, evidence: PeopleEvidence) -> Path:
    """Write ``evidence.json`` for ``strop gate --evidence FOLDER``. Raises: OutputError."""
    write_evidence_json(folder, KIND, {"people": evidence.content()})
    return Path(folder) / "evidence.json"


def read_people_evidence(folder: Path | str) -> PeopleEvidence:
    """What ``write_people_evidence`` wrote, with the default rule. Raises: MismatchError."""
    try:
        content = dict(read_evidence_json(folder, KIND)["people"])
        lists = {key: tuple(content[key]) for key in ("annotators", "excluded")}
        return PeopleEvidence(**{**content, **lists})
    except (KeyError, TypeError) as error:
        raise MismatchError(
            f"the evidence in {folder} is no session of people", why=str(error), do="write it again"
        ) from error


@dataclass(frozen=True, kw_only=True)
class _Bound:
    """Sessions held to the models that are gated: what the gate hears in their place."""

    rule: PeopleRule
    sessions: tuple[PeopleEvidence, ...]
    candidate: str
    baseline: str | None
    name: str = KIND

    @property
    def digest(self) -> str:
        return digest_json([one.digest for one in self.sessions])

    def findings(self) -> Sequence[Check | BlockingTest]:
        return require_people(self.rule, self.sessions, candidate=self.candidate, baseline=self.baseline)


def bind_people(
    rule: PeopleRule | None, evidence: Sequence[Evidence], *, candidate: str, baseline: str | None
) -> list[Evidence]:
    """The evidence with its sessions of people held to ``rule`` and to the digests of the models that are gated.

    Without a rule sessions are not demanded; one that is given must still be of these models.
    """
    sessions = tuple(one for one in evidence if isinstance(one, PeopleEvidence))
    others = [one for one in evidence if not isinstance(one, PeopleEvidence)]
    if rule is None and not sessions:
        return others
    return [*others, _Bound(rule=rule or PeopleRule(), sessions=sessions, candidate=candidate, baseline=baseline)]


def require_people(
    rule: PeopleRule, evidence: Sequence[Evidence], *, candidate: str, baseline: str | None
) -> list[Check | BlockingTest]:
    """What follows for a release that demands people: a session of exactly these two models, or INSUFFICIENT.

    So is every session of other models: what was given is not passed over. ``candidate`` and ``baseline`` are model
    digests; without a baseline a session against any will do.
    """
    sessions = [one for one in evidence if isinstance(one, PeopleEvidence)]
    fitting = [one for one in sessions if one.candidate == candidate and baseline in (None, one.baseline)]
    found = [finding for one in fitting for finding in replace(one, rule=rule).findings()]
    reasons = [] if sessions else ["the release asks for people, and no session was given"]
    for one in sessions:
        if one not in fitting:
            which = "candidate" if one.candidate != candidate else "baseline"
            other = getattr(one, which)[:12]
            reasons.append(f"the session {one.session[:12]} was judged with another {which} ({other})")
    numbers = {"sessions": [one.session for one in sessions], "candidate": candidate, "baseline": baseline}
    return [*found, *(Check(name="people", outcome="INSUFFICIENT", reason=why, numbers=numbers) for why in reasons)]
