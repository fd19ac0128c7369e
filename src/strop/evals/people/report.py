"""What a session says: win rates, agreement, what swayed people, and who paid no attention."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from strop.errors import MismatchError
from strop.evals.people.consistency import Consistency, between_annotators, consistency, fleiss
from strop.evals.people.effects import (
    Effect,
    annotator_effects,
    clustered_ratings,
    covariates,
    left_share,
    longer_share,
    model_effects,
)
from strop.evals.people.evidence import PeopleEvidence
from strop.evals.people.rule import PeopleRule
from strop.evals.people.session import Session, Side
from strop.evals.people.votes import MAX_MISSED, Attention, Ballot, Tally, Vote, attention, ballots, tallies, tally

if TYPE_CHECKING:
    from strop.statistics import Agreement, Interval, Ratings


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """(wins + ½ ties) / pairs of the candidate; a pair counts once, by what most of its annotators say."""

    wins: int
    ties: int
    losses: int

    @property
    def num_pairs(self) -> int:
        """n."""
        return self.wins + self.ties + self.losses

    @property
    def value(self) -> float | None:
        """None without a pair."""
        return (self.wins + self.ties / 2) / self.num_pairs if self.num_pairs else None

    @property
    def interval(self) -> Interval:
        """Wilson, 95 %; [0, 1] without a pair."""
        from strop.statistics import wilson

        return wilson(self.wins + self.ties / 2, self.num_pairs)


def win_rate_of(votes: Iterable[Vote]) -> WinRate:
    """The votes of single pairs counted."""
    given = list(votes)
    return WinRate(wins=given.count("candidate"), ties=given.count("tie"), losses=given.count("baseline"))


@dataclass(frozen=True, kw_only=True)
class AnnotatorReport:
    """One annotator."""

    num_judged: int
    """Pairs, without repeats and checks."""
    num_cannot: int
    """Said to be impossible to judge."""
    num_changed: int
    """Judgements that a later one replaced."""
    attention: Attention
    is_excluded: bool
    win_rate: WinRate
    left_share: Effect
    consistency: Consistency
    median_s: float | None


@dataclass(frozen=True, kw_only=True)
class PeopleReport:
    """Everything that a session says of two models; excluded annotators count nowhere but in ``annotators``."""

    session: str
    suite: str
    rubric: str
    """Digest of what was asked."""
    candidate: Side
    baseline: Side
    num_pairs: int
    """In the sample set, identical answers included."""
    num_identical: int
    num_unjudged: int
    """Pairs that nobody who counts has judged."""
    overall: WinRate
    """Identical pairs count as ties, once somebody who counts has judged another one."""
    slices: Mapping[str, WinRate]
    aspects: Mapping[str, WinRate]
    annotators: Mapping[str, AnnotatorReport]
    excluded: tuple[str, ...]
    max_missed: float
    """The share of attention checks above which an annotator is excluded."""
    effects: Mapping[str, Effect]
    """``quality``, ``position``, ``length`` (log-odds), ``left share``, ``longer share``."""
    annotator_effects: tuple[Effect, ...]
    between: Mapping[tuple[str, str], Agreement]
    """Cohen's kappa of every two annotators."""
    fleiss: float | None
    num_fleiss: int
    """Pairs that all annotators judged."""
    tallies: Mapping[int, Tally]
    """Pair → its votes."""
    last: str
    """When the last judgement was saved."""

    def evidence(self, rule: PeopleRule | None = None) -> PeopleEvidence:
        """For the gate."""
        return PeopleEvidence(
            session=self.session,
            candidate=self.candidate.model,
            baseline=self.baseline.model,
            suite=self.suite,
            wins=self.overall.wins,
            ties=self.overall.ties,
            losses=self.overall.losses,
            num_identical=self.num_identical if self.tallies else 0,
            annotators=tuple(name for name in self.annotators if name not in self.excluded),
            excluded=self.excluded,
            last=self.last,
            max_missed=self.max_missed,
            rule=rule or PeopleRule(),
        )

    def to_json(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        content = asdict(self)
        content["between"] = [{"annotators": list(pair), **asdict(found)} for pair, found in self.between.items()]
        rates = [(content["overall"], self.overall)]
        rates += [(content[kind][name], rate) for kind in ("slices", "aspects") for name, rate in self._kind(kind)]
        rates += [(content["annotators"][name]["win_rate"], one.win_rate) for name, one in self.annotators.items()]
        for table, rate in rates:
            table |= {"value": rate.value, "low": rate.interval.low, "high": rate.interval.high}
        for number, found in self.tallies.items():
            low, high = found.interval.low, found.interval.high
            content["tallies"][number] |= {"share": found.share, "low": low, "high": high}
        whole: dict[str, Any] = json.loads(json.dumps(content))
        return whole

    def _kind(self, kind: str) -> Iterable[tuple[str, WinRate]]:
        rates: Mapping[str, WinRate] = getattr(self, kind)
        return rates.items()


def analyse(session: Session, *, max_missed: float = MAX_MISSED) -> PeopleReport:
    """The report. Whoever misses more than ``max_missed`` of their attention checks is left out, whole, and named."""
    checked = attention(session)
    excluded = tuple(name for name, one in checked.items() if one.is_excluded(max_missed))
    everything = ballots(session)
    kept = [one for one in everything if one.annotator not in excluded]
    firsts = [one for one in kept if one.pair.role == "pair"]
    counted = tallies(kept)
    verdicts: dict[int, Vote] = {number: found.vote for number, found in counted.items()}
    if counted:  # alone they are nobody's word
        verdicts |= {pair.number: "tie" for pair in session.pairs if pair.role == "identical"}
    sample = [pair for pair in session.pairs if pair.role in ("pair", "identical")]
    kappa, num_fleiss = fleiss(kept)
    history = [one for one in session.history() if one.annotator not in excluded]
    return PeopleReport(
        session=session.digest,
        suite=session.suite,
        rubric=session.rubric.digest,
        candidate=session.candidate,
        baseline=session.baseline,
        num_pairs=len(sample),
        num_identical=sum(pair.role == "identical" for pair in sample),
        num_unjudged=sum(pair.role == "pair" and pair.number not in counted for pair in sample),
        overall=win_rate_of(verdicts.values()),
        slices=_slices(session, verdicts),
        aspects={aspect.name: _aspect(firsts, aspect.name) for aspect in session.rubric.aspects},
        annotators={name: _annotator(session, name, one, everything, excluded) for name, one in checked.items()},
        excluded=excluded,
        max_missed=max_missed,
        effects={**model_effects(firsts), "left share": left_share(firsts), "longer share": longer_share(firsts)},
        annotator_effects=annotator_effects(firsts),
        between=between_annotators(kept),
        fleiss=kappa,
        num_fleiss=num_fleiss,
        tallies=counted,
        last=max((one.time for one in history), default=""),
    )


def rate_models(sessions: Sequence[Session], *, max_missed: float = MAX_MISSED) -> Ratings:
    """Bradley-Terry ratings, by model digest, of all models of several sessions, position and length held apart.

    Intervals hold where a prompt was judged by several annotators. Raises: ValueError where ratings do not exist, for
    example because no chain of sessions connects two models; MismatchError if the sessions ask different rubrics.
    """
    from strop.statistics import Comparison

    if len({session.rubric.digest for session in sessions}) > 1:
        raise MismatchError("the sessions asked different things", do="join sessions of one rubric")
    cast: list[tuple[Session, Ballot]] = []
    for session in sessions:
        checked = attention(session)
        kept = [one for one in ballots(session) if not checked[one.annotator].is_excluded(max_missed)]
        cast += [(session, one) for one in kept if one.pair.role == "pair"]
    sways = covariates([one for _, one in cast])
    found = [
        Comparison(session.candidate.model, session.baseline.model, one.points, tuple(row))
        for (session, one), row in zip(cast, zip(*sways.values()))
    ]
    return clustered_ratings(found, [(session.suite, one.pair.item) for session, one in cast])


def _slices(session: Session, verdicts: Mapping[int, Vote]) -> dict[str, WinRate]:
    by_slice: dict[str, list[Vote]] = {}
    for number, vote in verdicts.items():
        for key, value in session.pairs[number].slices.items():
            by_slice.setdefault(f"{key}={value}", []).append(vote)
    return {name: win_rate_of(votes) for name, votes in sorted(by_slice.items())}


def _aspect(votes: Sequence[Ballot], aspect: str) -> WinRate:
    """Over the pairs to which somebody says that it applies."""
    by_pair: dict[int, list[Vote]] = {}
    for one in votes:
        if aspect in one.aspects:
            by_pair.setdefault(one.pair.number, []).append(one.aspects[aspect])
    return win_rate_of(tally(given).vote for given in by_pair.values())


def _annotator(
    session: Session, name: str, checked: Attention, votes: Sequence[Ballot], excluded: Sequence[str]
) -> AnnotatorReport:
    own = [one for one in votes if one.annotator == name and one.pair.role == "pair"]
    history, last = session.history(name), session.last(name)
    return AnnotatorReport(
        num_judged=len(own),
        num_cannot=sum(one.choice == "cannot" for one in last.values()),
        num_changed=len(history) - len(last),
        attention=checked,
        is_excluded=name in excluded,
        win_rate=win_rate_of(one.vote for one in own),
        left_share=left_share(own),
        consistency=consistency(votes, name),
        median_s=median(one.elapsed_s for one in own) if own else None,
    )
