"""Several verifiers as one: all of them, a majority, or a weighted majority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict, Verifier

Rule = Literal["all", "majority", "weighted"]


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Passes what enough of its members pass.

    With b_i the chance of member i to accept a wrong answer and a_i to accept a right one, *independent members* give

    all:       false accept Π b_i,                    true accept Π a_i
    majority:  false accept P(more than half accept), for equal b: Σ_{k > n/2} C(n, k) b^k (1 - b)^(n - k)
    weighted:  false accept P(Σ w_i accept_i > threshold Σ w_i)

    Members are rarely independent: three prompts of one judge, or three judges that learned from the same data, accept
    the same wrong answers, and then an ensemble buys nothing but confidence. The false accept of ``all`` lies anywhere
    between 0 and min b_i. Measure it: audit the ensemble as the verifier that it is. A policy that is trained on an
    ensemble looks for what all members miss.

    A member that could not grade is neither 0 nor 1. The verdict stands where it is the same whatever that member would
    have said (one rejection decides ``all``); otherwise the ensemble has not graded either, and its state is that of
    the first such member. Exactly half is no majority, and exactly the threshold does not pass. The measure
    ``agreement`` is the weight of the graded members on the verdict's side over that of all graded members.

    Judged by a ``GradingPool``, every member runs in its own way and to its own deadline; one that hangs is one vote
    less. Raises: VerifierError without two members of different content, and for weights that are none.
    """

    members: tuple[Verifier, ...]
    rule: Rule = "majority"
    weights: tuple[float, ...] = ()
    """One a member, above 0; for ``weighted`` only."""
    threshold: float = 0.5
    """The share of all weight that must be passed, and more; for ``weighted`` only."""
    name: str = "ensemble"

    def __post_init__(self) -> None:
        where = f"ensemble of {', '.join(member.name for member in self.members)}"
        digests = [member.digest for member in self.members]
        if len(digests) < 2 or len(set(digests)) < len(digests):
            raise VerifierError(
                f"{len(digests)} members with {len(set(digests))} contents are no ensemble",
                where=where,
                why="the same verifier twice says the same twice",
                do="give two or more different verifiers",
            )
        is_weighted = self.rule == "weighted"
        fits = len(self.weights) == len(self.members) and min(self.weights) > 0 if is_weighted else not self.weights
        if self.rule not in ("all", "majority", "weighted") or not fits or not 0 <= self.threshold < 1:
            raise VerifierError(
                f"rule {self.rule} with weights {self.weights} and threshold {self.threshold}",
                where=where,
                why="`weighted` takes a weight above 0 for each member and a threshold below 1, the others none",
                do="mend the settings",
            )
        if not is_weighted and self.threshold != 0.5:
            raise VerifierError(f"a threshold has no effect on rule {self.rule}", where=where, do="leave it out")

    @property
    def digest(self) -> str:
        """Identity of this file, of the members and of how they are put together."""
        members = [member.digest for member in self.members]
        return digest_json([digest_file(__file__), members, self.rule, self.weights, self.threshold, self.name])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        return self.combine([member(task, completion) for member in self.members])

    def combine(self, verdicts: Sequence[Verdict]) -> Verdict:
        """The verdict that follows from one of each member, in order."""
        weights = self.weights or (1.0,) * len(self.members)
        assert len(verdicts) == len(weights), f"{len(verdicts)} verdicts of {len(weights)} members"
        rows = list(zip(verdicts, weights, strict=True))
        accepted = sum(weight for verdict, weight in rows if verdict.is_graded and verdict.passed)
        unknown = sum(weight for verdict, weight in rows if not verdict.is_graded)
        total = sum(weights)
        at_worst, at_best = self._passes(accepted, total), self._passes(accepted + unknown, total)
        told = tuple(
            f"{member.name}: {_word(verdict)}{''.join(f', {reason}' for reason in verdict.reasons)}"
            for member, verdict in zip(self.members, verdicts, strict=True)
        )
        provenance = {
            f"{member.name}.{key}": value
            for member, verdict in zip(self.members, verdicts, strict=True)
            for key, value in verdict.provenance.items()
        }
        if at_worst != at_best:
            state = next(verdict.state for verdict in verdicts if not verdict.is_graded)
            return Verdict(score=None, passed=False, state=state, reasons=told, provenance=provenance)
        agreeing = accepted if at_worst else total - unknown - accepted
        return Verdict(
            score=float(at_worst),
            passed=at_worst,
            reasons=told,
            measures={"agreement": agreeing / (total - unknown)},
            provenance=provenance,
        )

    def _passes(self, accepted: float, total: float) -> bool:
        if self.rule == "all":
            return accepted >= total
        return accepted > self.threshold * total


def _word(verdict: Verdict) -> str:
    if not verdict.is_graded:
        return verdict.state
    return "passed" if verdict.passed else "failed"
