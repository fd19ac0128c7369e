"""A judge's word as evidence for the gate: it blocks by proof, or, where people do not bear it out, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.gating.evidence import BlockingTest
from strop.evals.gating.evidence_folder import read_evidence_json, write_evidence_json
from strop.evals.judging.items import preference_p_value
from strop.evals.judging.result import JudgeResult, standing_of, standing_record
from strop.evals.judging.rubric import PREFIX
from strop.evals.judging.standing import Standing, report_numbers
from strop.evals.results import SuiteResult
from strop.types import Check, Json

KIND = "judge"
_NUM_NAMED = 20


def _undecided(what: str, dimensions: Sequence[str], problems: Sequence[str], numbers: Json) -> list[Check]:
    """INSUFFICIENT for each dimension that rests on the judge, and why."""
    named = [f"dimension {dimension}: {what}" for dimension in dimensions] or [what]
    reason = f"nothing follows from the {what}: {'; '.join(problems)}"
    numbers = {**numbers, "problems": list(problems)}
    return [Check(name=name, outcome="INSUFFICIENT", reason=reason, numbers=numbers) for name in named]


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
        result = self.result
        if problems := self.problems:
            return [*_undecided(self.name, result.dimensions, problems, {**result.numbers(), "judge": result.judge})]
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

    def told(self) -> str:
        """The win rate beside accuracy, the bias to a place and to length, in words."""
        result, parts = self.result, [f"win rate {self.result.win_rate()}"]
        if result.accuracy is not None:
            now, before = result.accuracy
            parts.append(f"beside accuracy {before:.3f} → {now:.3f}")
        if (bias := result.position_bias) is not None:
            low, high = bias.inconsistent.low, bias.inconsistent.high
            contradicted = f"{bias.inconsistent_rate:.0%} [{low:.0%}, {high:.0%}]"
            parts.append(
                f"in {contradicted} the two orders contradict each other, first preferred {bias.first_rate:.2f}"
            )
        if (length := result.length_effect) is not None:
            low, high = length.interval.low, length.interval.high
            parts.append(f"the longer answer preferred {length.longer_preferred:.2f} [{low:.2f}, {high:.2f}]")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class RubricEvidence:
    """``gating.Evidence`` of judged measures (``judge_rubric``): how their judge stands; the gate tests the values."""

    suite: str
    standing: Standing
    dimensions: tuple[str, ...]
    """What the judged measures speak of."""
    num_answers: int
    num_unjudged: int
    """Answers on which the judge failed."""

    @classmethod
    def of(cls, result: SuiteResult, standing: Standing) -> RubricEvidence:
        """For the judged measures of a result."""
        rated = [metric.dimension for name, metric in result.metrics.items() if name.startswith(PREFIX)]
        named = tuple(dict.fromkeys(dimension for dimension in rated if dimension is not None))
        unjudged = [sample.measures.get("unjudged") for sample in result.samples]
        return cls(
            suite=result.name,
            standing=standing,
            dimensions=named,
            num_answers=len(unjudged),
            num_unjudged=sum(value != 0.0 for value in unjudged),
        )

    @property
    def name(self) -> str:
        """For the report."""
        return f"judged measures of {self.suite}"

    @property
    def digest(self) -> str:
        """Identity of the judge and its anchors."""
        return digest_json(self.as_json)

    @property
    def as_json(self) -> dict[str, Any]:
        """All of it."""
        plain = {key: value for key, value in vars(self).items() if key != "standing"}
        return {**plain, "dimensions": list(self.dimensions), "standing": standing_record(self.standing)}

    def findings(self) -> list[Check]:
        """INSUFFICIENT for each dimension of a judge that is not borne out; else how it stands."""
        numbers: dict[str, Any] = {"judge": self.standing.judge, "anchors": report_numbers(self.standing.now)}
        numbers |= {"num_answers": self.num_answers, "num_unjudged": self.num_unjudged}
        problems = self.standing.problems
        if self.num_unjudged > self.standing.limits.max_ungraded * self.num_answers:
            problems = (*problems, f"{self.num_unjudged} of {self.num_answers} answers could not be judged")
        if problems:
            return _undecided(self.name, self.dimensions, problems, numbers)
        reason = f"the judge {self.standing}"
        return [Check(name=f"{self.name}: held to people", outcome="PASS", reason=reason, numbers=numbers)]


def write_judge_evidence(
    folder: Path | str, results: Sequence[JudgeResult], rubrics: Sequence[RubricEvidence] = ()
) -> Path:
    """Save the results and ``evidence.json`` for ``strop gate --evidence FOLDER``. Raises: OutputError."""
    for result in results:
        result.save(folder)
    suites = {result.suite: result.digest for result in results}
    content = {"suites": suites, "rubrics": [one.as_json for one in rubrics]}
    about = {result.suite: result.candidate for result in results}
    write_evidence_json(folder, KIND, content, about=about)
    return Path(folder) / "evidence.json"


@dataclass(frozen=True, kw_only=True)
class JudgedSuites:
    """The evidence of several suites, judged by one command."""

    parts: tuple[JudgeEvidence | RubricEvidence, ...]
    digest: str
    name: str = KIND

    def findings(self) -> list[Check | BlockingTest]:
        """Those of every suite."""
        return [finding for part in self.parts for finding in part.findings()]


def read_evidence(folder: Path | str) -> JudgedSuites:
    """What ``write_judge_evidence`` wrote. Raises: MismatchError if it is missing, or anything in it was changed."""
    content: dict[str, Any] = read_evidence_json(folder, KIND)
    parts: list[JudgeEvidence | RubricEvidence] = []
    try:
        for suite, digest in dict(content["suites"]).items():
            result = JudgeResult.load(folder, suite)
            if result.digest != digest or content["about"].get(suite) != result.candidate:
                raise ValueError(f"the judgement of {suite} is not the one that the evidence names")
            parts.append(JudgeEvidence(result=result))
        for one in content["rubrics"]:
            named, standing = tuple(one["dimensions"]), standing_of(one["standing"])
            parts.append(RubricEvidence(**{**one, "standing": standing, "dimensions": named}))
    except (KeyError, TypeError, ValueError) as error:
        where, do = str(folder), "judge again into a folder of its own"
        raise MismatchError(f"cannot use the judgements in {folder}", where=where, why=str(error), do=do) from error
    return JudgedSuites(parts=tuple(parts), digest=content["digest"])
