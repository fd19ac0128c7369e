"""A judge's word as evidence for the gate: it blocks by proof, or, where people do not bear it out, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.errors import MismatchError
from strop.evals.gating.evidence import BlockingTest
from strop.evals.gating.evidence_folder import read_evidence_json, write_evidence_json
from strop.evals.judging.items import preference_p_value
from strop.evals.judging.result import JudgeResult
from strop.types import Check

KIND = "judge"
_NUM_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class JudgeEvidence:
    """``gating.Evidence`` of a judged suite: INSUFFICIENT for all that rests on the judge, or a test that may block."""

    result: JudgeResult

    @property
    def name(self) -> str:
        """For the report."""
        return f"judge of {self.result.suite}"

    @property
    def digest(self) -> str:
        """Identity of the decisions, the judge, the anchors and both models."""
        return self.result.digest

    @property
    def problems(self) -> tuple[str, ...]:
        """Why nothing follows; empty if the judge's word counts."""
        result, limits = self.result, self.result.standing.limits
        rate, bias = result.win_rate(), result.position_bias
        found = list(result.standing.problems)
        if result.standing.judge != result.judge:
            found.append("the anchors are of another judge than the answers")
        if rate.ungraded > limits.max_ungraded * len(result.items) or rate.value is None:
            found.append(f"{rate.ungraded} of {len(result.items)} items could not be judged")
        if bias is not None and bias.inconsistent_rate > limits.max_inconsistent:
            contradicted = f"{bias.inconsistent_rate:.0%} of {bias.num_compared} comparisons"
            found.append(f"the preference follows the place: the two orders contradict each other in {contradicted}")
        if result.accuracy is None:
            found.append("a win rate is not read alone, and accuracy was not measured beside it")
        return tuple(found)

    def findings(self) -> list[Check | BlockingTest]:
        """Never BLOCK and never PASS while the judge is not borne out; else how it stands, and the preference test."""
        if problems := self.problems:
            return [*self._undecided(problems)]
        result = self.result
        lost = [item.id for item in result.items if item.outcome == "loss"]
        numbers = {**result.numbers(), "judge": result.judge, "items": lost[:_NUM_NAMED]}
        stands = Check(
            name=f"{self.name}: held to people", outcome="PASS", reason=f"it {result.standing}", numbers=numbers
        )
        test = BlockingTest(
            name=f"{self.name}: the baseline is preferred",
            p_value=preference_p_value(result.items),
            told=self.told(),
            numbers=numbers,
        )
        return [stands, test]

    def _undecided(self, problems: Sequence[str]) -> list[Check]:
        """INSUFFICIENT for each dimension that rests on the judge, and why."""
        result = self.result
        named = [f"dimension {dimension}: {self.name}" for dimension in result.dimensions] or [self.name]
        reason = f"nothing follows from the {self.name}: {'; '.join(problems)}"
        numbers = {**result.numbers(), "judge": result.judge, "problems": list(problems)}
        return [Check(name=name, outcome="INSUFFICIENT", reason=reason, numbers=numbers) for name in named]

    def told(self) -> str:
        """The win rate beside accuracy, the bias to a place and to length, in words."""
        result, parts = self.result, [f"win rate {self.result.win_rate()}"]
        if result.accuracy is not None:
            now, before = result.accuracy
            parts.append(f"beside accuracy {before:.3f} → {now:.3f}")
        if (bias := result.position_bias) is not None:
            parts.append(f"{bias.inconsistent_rate:.0%} of orders contradict each other, first {bias.first_rate:.2f}")
        if (length := result.length_effect) is not None:
            low, high = length.interval.low, length.interval.high
            parts.append(f"the longer answer preferred {length.longer_preferred:.2f} [{low:.2f}, {high:.2f}]")
        return ", ".join(parts)


def write_judge_evidence(folder: Path | str, results: Sequence[JudgeResult]) -> Path:
    """Save the results and ``evidence.json`` for ``strop gate --evidence FOLDER``. Raises: OutputError."""
    for result in results:
        result.save(folder)
    content = {"suites": {result.suite: result.digest for result in results}}
    about = {result.suite: result.candidate for result in results}
    write_evidence_json(folder, KIND, content, about=about)
    return Path(folder) / "evidence.json"


@dataclass(frozen=True, kw_only=True)
class JudgedSuites:
    """The evidence of several suites, judged by one command."""

    parts: tuple[JudgeEvidence, ...]
    digest: str
    name: str = KIND

    def findings(self) -> list[Check | BlockingTest]:
        """Those of every suite."""
        return [finding for part in self.parts for finding in part.findings()]


def read_evidence(folder: Path | str) -> JudgedSuites:
    """What ``write_judge_evidence`` wrote. Raises: MismatchError if it is missing, or anything in it was changed."""
    content: dict[str, Any] = read_evidence_json(folder, KIND)
    parts = []
    for suite, digest in dict(content.get("suites") or {}).items():
        result = JudgeResult.load(folder, suite)
        if result.digest != digest or content["about"].get(suite) != result.candidate:
            raise MismatchError(
                f"the judgement of {suite} is not the one that the evidence names",
                where=str(folder),
                do="judge again into a folder of its own",
            )
        parts.append(JudgeEvidence(result=result))
    return JudgedSuites(parts=tuple(parts), digest=content["digest"])
