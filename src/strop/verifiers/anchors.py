"""Answers that people have judged, by which a judge is measured, and stopped when it drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from strop.digests import digest_file, digest_json
from strop.errors import MismatchError, VerifierError
from strop.types import Completion, Task, Verdict, Verifier
from strop.verifiers.judge import PairwiseJudge
from strop.verifiers.pool import BatchVerifier, Pair

if TYPE_CHECKING:
    from strop.statistics import Agreement, Interval


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """An answer and whether people find that it passes."""

    task: Task
    text: str
    label: bool

    @property
    def pair(self) -> Pair:
        """As a verifier takes it."""
        return self.task, Completion(token_ids=(), sampler_logprobs=(), text=self.text, finish_reason="stop")


@dataclass(frozen=True, kw_only=True)
class AnchorReport:
    """How a judge and people judged the same answers; of this judge, rubric and anchors only."""

    judge: str
    """The digest of the judge, which holds its model, its rubric and its settings."""
    anchors: str
    """The digest of the anchors with their labels."""
    labels: tuple[bool, ...]
    passed: tuple[bool | None, ...]
    """What the judge found; None where it gave no score, or, of two answers, preferred neither."""

    @property
    def num_undecided(self) -> int:
        """Anchors that the judge did not decide."""
        return self.passed.count(None)

    @property
    def agreement(self) -> float:
        """The share of all anchors that are judged as people did; one without a verdict is no agreement."""
        return self._num_agreeing / len(self.labels)

    @property
    def interval(self) -> Interval:
        """Of the agreement: Wilson, 95 %."""
        from strop.statistics import wilson

        return wilson(self._num_agreeing, len(self.labels))

    @property
    def kappa(self) -> Agreement:
        """Agreement beyond chance, over the anchors that have a verdict. Raises: ValueError without any."""
        from strop.statistics import cohen_kappa

        both = [(label, found) for label, found in zip(self.labels, self.passed, strict=True) if found is not None]
        return cohen_kappa([label for label, _ in both], [found for _, found in both], categories=[False, True])

    @property
    def _num_agreeing(self) -> int:
        return sum(label == found for label, found in zip(self.labels, self.passed, strict=True))


def measure_anchors(judge: Verifier, anchors: Sequence[Anchor]) -> AnchorReport:
    """What the judge makes of the anchors. Raises: VerifierError without anchors of both labels."""
    _require_both(anchors)
    return _report(judge, anchors, _judge(judge, [anchor.pair for anchor in anchors]))


def drift_p_value(before: AnchorReport, now: AnchorReport) -> float:
    """The chance that as many anchors, or more, change sides against people by luck: exact McNemar, one-sided.

    Small where the judge agreed on anchors before on which it does not now. Raises: MismatchError if the two are of
    different anchors, or of judges that differ in what their digests say: then it is no drift but another judge.
    """
    from math import comb

    if (before.anchors, before.judge) != (now.anchors, now.judge):
        different = "anchors" if before.anchors != now.anchors else "judges"
        raise MismatchError(f"the two reports are of different {different}", do="measure the same judge on the same")
    rows = list(zip(before.labels, before.passed, now.passed, strict=True))
    lost = sum(label == then != found for label, then, found in rows)
    gained = sum(label == found != then for label, then, found in rows)
    return float(sum(comb(lost + gained, k) for k in range(lost, lost + gained + 1)) / 2 ** (lost + gained))


@dataclass(frozen=True, kw_only=True)
class AnchoredJudge:
    """A judge whose verdicts count only while it agrees with people.

    Every call judges the anchors together with the answers, as what stands behind a server changes unseen. Where the
    agreement is below ``min_agreement``, or has fallen against ``before`` with a one-sided p below ``alpha``, nothing
    is decided: every verdict is of state ``infrastructure`` without a score and says so. The cost is that of the
    anchors in every call: give it many answers at once. Raises: VerifierError without anchors of both labels.
    """

    judge: Verifier
    anchors: tuple[Anchor, ...]
    min_agreement: float = 0.8
    before: AnchorReport | None = None
    """How it judged the anchors when people examined it."""
    alpha: float = 0.01
    name: str = "anchored judge"

    def __post_init__(self) -> None:
        _require_both(self.anchors)
        if self.before is not None and (self.before.judge, self.before.anchors) != (
            self.judge.digest,
            _digest(self.anchors),
        ):
            raise MismatchError(
                f"the report is not of {self.judge.name} and these anchors",
                why="judge, rubric or anchors were changed since",
                do="measure the anchors again with this judge",
            )

    @property
    def digest(self) -> str:
        """Identity of this file, of the judge, the anchors and the limits."""
        before = None if self.before is None else asdict(self.before)
        settings = [self.min_agreement, self.alpha, self.name, before]
        return digest_json([digest_file(__file__), self.judge.digest, _digest(self.anchors), settings])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return self.judge_many([(task, completion)])[0]

    def judge_many(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """One verdict a pair, in order; none is decided if the judge has drifted."""
        found = _judge(self.judge, [*(anchor.pair for anchor in self.anchors), *pairs])
        report, verdicts = _report(self.judge, self.anchors, found[: len(self.anchors)]), found[len(self.anchors) :]
        if not (why := self._drifted(report)):
            return verdicts
        undecided = Verdict(score=None, passed=False, state="infrastructure", reasons=(f"undecided: {why}",))
        return [undecided] * len(pairs)

    def _drifted(self, now: AnchorReport) -> str:
        agreed = f"{self.judge.name} agrees with people on {now.agreement:.0%} of {len(now.labels)} anchors"
        if now.agreement < self.min_agreement:
            return f"{agreed}, less than {self.min_agreement:.0%}"
        if self.before is not None and (p := drift_p_value(self.before, now)) < self.alpha:
            return f"{agreed}, after {self.before.agreement:.0%} before (p = {p:.2g})"
        return ""


def _judge(judge: Verifier, pairs: Sequence[Pair]) -> list[Verdict]:
    return judge.judge_many(pairs) if isinstance(judge, BatchVerifier) else [judge(*pair) for pair in pairs]


def _report(judge: Verifier, anchors: Sequence[Anchor], verdicts: Sequence[Verdict]) -> AnchorReport:
    return AnchorReport(
        judge=judge.digest,
        anchors=_digest(anchors),
        labels=tuple(anchor.label for anchor in anchors),
        passed=tuple(_side(judge, verdict) for verdict in verdicts),
    )


def _side(judge: Verifier, verdict: Verdict) -> bool | None:
    """None as well where a judge of pairs prefers neither: people did, so that no label of theirs is agreed with."""
    is_neither = isinstance(judge, PairwiseJudge) and verdict.score == 0.5
    return verdict.passed if verdict.is_graded and not is_neither else None


def _digest(anchors: Sequence[Anchor]) -> str:
    """Of what was asked and labelled, wherever it lay."""
    return digest_json([asdict(replace(one, task=replace(one.task, source=""))) for one in anchors])


def _require_both(anchors: Sequence[Anchor]) -> None:
    if {anchor.label for anchor in anchors} != {False, True}:
        raise VerifierError(
            f"{len(anchors)} anchors, not of both labels",
            why="a judge that always says the same would agree with all of one label",
            do="give answers that people let pass, and answers that they did not",
        )
