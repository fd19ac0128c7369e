"""Proofs that rules turn one string into another: read step by step, every error named with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict

Rule = tuple[str, str]
"""``("ab", "ba")``: one occurrence of the left side may be replaced by the right side."""

MAX_STEPS = 200
_STEP = re.compile(r"(?P<rule>[0-9]{1,3})\s*(?:@\s*(?P<position>[0-9]{1,3})\s*)?:(?P<result>[a-z ]*)")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of a proof, ``2@1: a b c``: rule 2, applied at place 1 if that is said, gives ``abc``."""

    rule: int
    """Numbered from 1, as the rules are listed."""
    result: str
    position: int | None = None
    """Of the first replaced letter, from 0; None where the line leaves it open."""

    @property
    def text(self) -> str:
        """As it is written."""
        at = "" if self.position is None else f"@{self.position}"
        return f"{self.rule}{at}: {' '.join(self.result)}"


def read_step(line: str) -> Step | None:
    """The step that a line holds; None if it cannot be read. Spaces between letters do not matter."""
    match = _STEP.fullmatch(line.strip())
    if match is None:
        return None
    position = None if match["position"] is None else int(match["position"])
    return Step(rule=int(match["rule"]), result=match["result"].replace(" ", ""), position=position)


def split_lines(text: str) -> list[str]:
    """The lines of a proof: parted by ``;`` or new lines, with ``Proof:`` before and a full stop behind them or not."""
    body = re.sub(r"^\s*proof:", "", text, flags=re.IGNORECASE).strip().removesuffix(".")
    return [line.strip() for line in re.split(r"[;\n]+", body) if line.strip()]


def places(text: str, rule: Rule) -> list[int]:
    """Where the rule applies."""
    return [at for at in range(len(text) - len(rule[0]) + 1) if text.startswith(rule[0], at)]


def apply_rule(text: str, rule: Rule, at: int) -> str:
    """The text after the rule was applied at that place."""
    return text[:at] + rule[1] + text[at + len(rule[0]) :]


def step_error(text: str, rules: Sequence[Rule], step: Step) -> str | None:
    """Why the step does not follow from ``text``; None if it does."""
    shown, result = f"`{' '.join(text)}`", f"`{' '.join(step.result)}`"
    if not 1 <= step.rule <= len(rules):
        return f"there is no rule {step.rule}, only 1 to {len(rules)}"
    rule = rules[step.rule - 1]
    fitting = places(text, rule)
    if not fitting:
        return f"rule {step.rule} does not apply to {shown}"
    if step.position is not None and step.position not in fitting:
        return f"rule {step.rule} does not apply at {step.position} of {shown}"
    given = [apply_rule(text, rule, at) for at in fitting if step.position in (None, at)]
    if step.result in given:
        return None
    if step.position is not None or len(given) == 1:
        return f"rule {step.rule} turns {shown} into `{' '.join(given[0])}`, not {result}"
    return f"rule {step.rule} turns {shown} into none of its {len(given)} results, but {result} is stated"


@dataclass(frozen=True, kw_only=True)
class ProofCheck:
    """What is right and wrong about a proof."""

    steps: tuple[float | None, ...]
    """A line that follows from the line before as that one stands: 1, else 0; None after one that cannot be read."""
    errors: tuple[str, ...]
    """``step 3: rule 2 does not apply to ...``, the first error first; empty for a proof."""
    is_readable: bool = True

    @property
    def first_error(self) -> int | None:
        """The number of the first wrong step, from 1; None if every step is right."""
        return next((number for number, score in enumerate(self.steps, 1) if score == 0.0), None)


def check_proof(rules: Sequence[Rule], start: str, goal: str, lines: Sequence[str]) -> ProofCheck:
    """Every line judged against the one before; the last one must state the goal."""
    text: str | None = start
    scores: list[float | None] = []
    errors: list[str] = []
    is_readable = True
    for number, line in enumerate(lines[:MAX_STEPS], 1):
        step = read_step(line)
        if step is None:
            is_readable = False
            errors.append(f"step {number}: `{line[:40]}` cannot be read as `RULE: STRING`")
            scores.append(0.0)
        elif text is None:
            scores.append(None)
        else:
            error = step_error(text, rules, step)
            scores.append(float(error is None))
            errors += [] if error is None else [f"step {number}: {error}"]
        text = None if step is None else step.result
    if len(lines) > MAX_STEPS:
        errors.append(f"step {MAX_STEPS + 1}: a proof has at most {MAX_STEPS} steps")
    elif text is not None and text != goal:
        errors.append(f"the proof ends at `{' '.join(text)}`, not at the goal `{' '.join(goal)}`")
    return ProofCheck(steps=tuple(scores), errors=tuple(errors), is_readable=is_readable)


def _problem(task: Task) -> tuple[list[Rule], str, str]:
    reference: Mapping[str, object] = task.reference
    rules, start, goal = reference.get("rules"), reference.get("start"), reference.get("goal")
    pairs = [tuple(rule) for rule in rules] if isinstance(rules, list | tuple) else []
    texts = [start, goal, *(side for pair in pairs for side in pair)]
    if not pairs or any(len(pair) != 2 or not pair[0] for pair in pairs) or not all(isinstance(t, str) for t in texts):
        raise VerifierError(
            f"task {task.id} has no rewriting problem",
            where=task.source or task.id,
            why='RewritingProof needs {"rules": [["ab", "ba"], ...], "start": "aab", "goal": "baa"}',
            do="mend the reference",
        )
    return [(str(left), str(right)) for left, right in pairs], str(start), str(goal)


@dataclass(frozen=True, kw_only=True)
class RewritingProof:
    """Passes a proof that leads from ``reference["start"]`` to ``reference["goal"]`` by ``reference["rules"]``.

    One step a line, or parted by semicolons: ``RULE: STRING`` or ``RULE@PLACE: STRING``, the string after the step,
    with or without spaces. The text must be the proof and nothing else. The reasons name every wrong step and why;
    ``steps`` judges each line from the line before as it is stated, for process rewards. A line that cannot be
    read makes the proof ``unparsable``; a truncated one fails. Raises: VerifierError without a problem.
    """

    name: str = "rewriting"

    @property
    def digest(self) -> str:
        """Identity of this file and its settings."""
        return digest_json([digest_file(__file__), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        rules, start, goal = _problem(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        lines = split_lines(completion.text)
        if not lines:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=("there is no step",))
        check = check_proof(rules, start, goal, lines)
        return Verdict(
            score=float(not check.errors),
            passed=not check.errors,
            state="graded" if check.is_readable else "unparsable",
            reasons=check.errors or (f"proved in {len(lines)} steps",),
            steps=check.steps,
        )
