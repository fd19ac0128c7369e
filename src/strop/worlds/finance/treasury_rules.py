"""Judging what is done in the treasury: the call and the world after it, the answer and what it rests on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.tools import Evidence, figures, ground
from strop.types import Completion, Task, ToolCall, Verdict
from strop.verifiers import ToolCallAnswer, parse_calls, schema
from strop.worlds.finance.treasury_cases import session

MAX_WORDS = 40
MAX_CHARS = 1000
_CLAIMS = re.compile(r"\b(?:prepared|approved|waiting|awaiting|paid|booked|sent|done)\b|\btr-[0-9]", re.IGNORECASE)


_REASONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        *(rf"\b{word}\b" for word in ("closed", "blocked", "past", "future", "covered")),
        r"\bheld\b|\bcurrency\b",
        r"\bno (?:such )?(?:account|vendor|transfer|spending|budget|rule|rate)\b",
    )
)
"""What tells one refusal from another."""


def world_after(tenant: str, calls: tuple[ToolCall, ...]) -> tuple[str, bool]:
    """The digest of the tenant's world after ``calls``, and whether the last one was answered ``ok``."""
    here = session(tenant)
    results = [here.call(call) for call in calls]
    return here.state.digest, bool(results) and results[-1].is_ok


def answer_problems(text: str, reference: Mapping[str, Any]) -> list[str]:
    """What is wrong with an answer from evidence: its head, its figures, its sources, its length."""
    question = str(reference["question"])
    evidence = [Evidence(id=str(piece["id"]), value=[piece["value"], question]) for piece in reference["evidence"]]
    right, other = str(reference["text"]), str(reference["other"])
    problems = []
    if not text.startswith(str(reference["head"])):
        problems.append(f"it does not begin with {reference['head']}")
    if other and re.search(rf"(?<!No ){re.escape(other)}", text, re.IGNORECASE):
        problems.append("it says both")
    decision = re.search(r"\b(?:Delay|Keep)\b", right)
    said = {word.lower() for word in re.findall(r"\b(?:delay|keep)\b", text, re.IGNORECASE)}
    if decision and said != {decision[0].lower()}:
        problems.append(f"{decision[0]} is due")
    bare = re.compile(r"\[[^\[\]]*\]")
    if missing := sorted(map(str, figures(bare.sub(" ", right)) - figures(bare.sub(" ", text)))):
        problems.append(f"{missing[0]} is not said")
    if strange := sorted(map(str, figures(bare.sub(" ", text)) - figures(f"{right} ; {question}"))):
        problems.append(f"{strange[0]} was not asked for, or stands nowhere")
    if ground(text, evidence).grounded != 1.0:
        problems.append("a figure is without the source that holds it")
    return problems


def report_problems(text: str, reference: Mapping[str, Any]) -> list[str]:
    """What is wrong with the report of a refusal: it must say that nothing was done, why, no other why, no success."""
    reason, question = str(reference["reason"]), str(reference["question"])
    plain = text.removeprefix("Not done:")
    words = _words(reason) - _words(question)
    problems = []
    if plain == text:
        problems.append("it does not begin with Not done:")
    if _CLAIMS.search(plain):
        problems.append("it claims that something was done")
    if strange := sorted(map(str, figures(plain) - figures(reason) - figures(question))):
        problems.append(f"{strange[0]} stands nowhere")
    if len(words & _words(plain)) * 2 <= len(words):
        problems.append("it does not say why")
    if any(why.search(plain) and not why.search(f"{reason} ; {question}") for why in _REASONS):
        problems.append("it gives a reason that was none")
    return problems


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


@dataclass(frozen=True, kw_only=True)
class TreasuryAnswer:
    """Passes the call that is due if it leaves the world as it must be, the cited answer, or the honest report.

    ``reference["expects"]`` says which. A call must be the expected one, argument by argument, and is then made in a
    copy of the tenant's world: what the world is afterwards must have the expected digest. An answer begins with its
    head (``Warning:``) and states the figures of the evidence, each with the source that holds it, and none beside
    them but those of the question. Where the world refused, the report says so, why, and claims nothing. A truncated
    completion fails.
    """

    name: str = "treasury"

    @property
    def digest(self) -> str:
        """Identity of this file, of the tools, their services and what grounds answers, and of what checks calls."""
        tools = sorted(Path(ground.__code__.co_filename).parent.rglob("*.py"))
        files = [*map(str, tools), *schema.code_files(), str(session.__code__.co_filename)]
        return digest_json([digest_file(__file__), ToolCallAnswer().digest, *map(digest_file, files)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        reference, text = task.reference, completion.text.strip()
        expects = reference.get("expects")
        if expects not in ("call", "answer", "report"):
            raise VerifierError(
                f"task {task.id} does not say what is expected: {expects!r}",
                where=task.source or task.id,
                why="TreasuryAnswer needs call, answer or report",
                do="mend the reference",
            )
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        if expects == "call":
            return self._call(task, completion)
        if "<tool_call>" in text:
            return Verdict(score=0.0, passed=False, reasons=("a call where an answer was due",))
        if not text:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("empty answer",))
        if len(text) > MAX_CHARS:
            return Verdict(score=0.0, passed=False, reasons=(f"more than {MAX_CHARS} characters",))
        problems = answer_problems(text, reference) if expects == "answer" else report_problems(text, reference)
        problems += [f"more than {MAX_WORDS} words"] if len(text.split()) > MAX_WORDS else []
        return Verdict(
            score=float(not problems), passed=not problems, reasons=tuple(problems) or ("rests on what the tools said",)
        )

    def _call(self, task: Task, completion: Completion) -> Verdict:
        verdict = ToolCallAnswer()(task, completion)
        if not verdict.passed:
            return verdict
        before = tuple(ToolCall(name=one["name"], arguments=one["arguments"]) for one in task.reference["before"])
        after, _ = world_after(task.reference["tenant"], (*before, *parse_calls(completion.text)))
        is_right = after == task.reference["world"]
        reason = "the world is as it must be" if is_right else "the world is not as it must be after the call"
        return Verdict(score=float(is_right), passed=is_right, reasons=(reason,))
