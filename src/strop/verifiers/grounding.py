"""Whether an answer rests on its evidence: claims, citations, contradictions, and what was due to be said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import accepted, calls, facts, fields, text
from strop.verifiers.calls import spoken
from strop.verifiers.facts import Fact, Relation, facts_of, read_fact, relation
from strop.verifiers.fields import agrees
from strop.verifiers.text import normalise, says_something

if TYPE_CHECKING:
    from strop.tools import Evidence
    from strop.verifiers.audit import AuditCase

_DOCUMENT = re.compile(r"^\[([^\[\]\s]{1,120})\][ \t]+(\S.*)$", re.MULTILINE)
_CITATION = re.compile(r"\[[^\[\]\s]{1,120}\]")
_DENIES = re.compile(r"\b(?:not|never|no|neither|nor|without|false|untrue|incorrect|wrong)\b|n['’]t\b", re.IGNORECASE)
_BESIDE = (
    r"(?: (?:is|was|were|of|at|to|only|about|exactly|a|total))* (?:[A-Z]{3} |[€$£])?"
    r"(?P<value>\d+(?:,\d{3})*(?:\.\d+)?)(?![\w%]|[.,]\d| (?:hundred|thousand|million|billion)\b)"
)
_NAME = re.compile(r"(?<=[^\W_] )(?<![.!?:] )[A-Z][\w&-]+|(?<=[,;(] )[A-Z][\w&-]+")


@dataclass(frozen=True, kw_only=True)
class CheckedClaim:
    """A sentence that claims something, beside the evidence."""

    text: str
    num_cited: int
    num_right: int
    """Citations that resolve and hold something of the claim."""
    is_covered: bool
    """Whether a citation of it resolves."""
    problems: tuple[str, ...]
    """Why it is not supported; empty if it is."""
    relation: Relation | None
    """What all the evidence says of the fact that it states; None where it states none that can be read."""


@dataclass(frozen=True, kw_only=True)
class CheckedAnswer:
    """An answer's claims beside the evidence; a rate without a denominator is None."""

    claims: tuple[CheckedClaim, ...]

    @property
    def grounded(self) -> float | None:
        """Supported claims over claims."""
        return _share(sum(not claim.problems for claim in self.claims), len(self.claims))

    @property
    def coverage(self) -> float | None:
        """Claims with a citation that resolves, over claims."""
        return _share(sum(claim.is_covered for claim in self.claims), len(self.claims))

    @property
    def precision(self) -> float | None:
        """Right citations over citations."""
        return _share(sum(claim.num_right for claim in self.claims), sum(claim.num_cited for claim in self.claims))

    @property
    def consistency(self) -> float | None:
        """Claims that the evidence entails, over claims that it entails or contradicts."""
        told = [claim.relation for claim in self.claims if claim.relation in ("entailed", "contradicted")]
        return _share(told.count("entailed"), len(told))


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def check_claims(answer: str, evidence: Sequence[Evidence], *, question: str = "") -> CheckedAnswer:
    """The claims of an answer: every sentence with a figure or a citation, or that states a fact.

    A citation alone says nothing and is no claim.

    A fact is one that can be read (``read_fact``) and of which the evidence speaks, or that names somebody.

    A claim is supported if it cites, every citation resolves, and what it cites holds its figures (``tools.ground``),
    the fact that it states, and the names in it that do not stand in the question; if it denies, so must what it cites.
    What it says in other words is taken at its citation's word.
    """
    from strop.tools.evidence import ground, sentences

    known = [fact for piece in evidence for fact in facts_of(piece.id, piece.value)]
    claims = []
    for sentence in sentences(answer):
        figured = ground(sentence, evidence).claims
        fact = read_fact(sentence)
        cited = frozenset(name for claim in figured for name in claim.cited)
        told = None if fact is None else relation(fact, known)
        if not says_something(_CITATION.sub(" ", sentence)):
            continue
        if not figured and (told is None or (told == "neutral" and _NAME.search(sentence) is None)):
            continue
        held = [piece for piece in evidence if piece.id in cited]
        recorded = None if fact is not None else _recorded(sentence, held)
        problems = _figure_problems(figured) + _name_problems(sentence, held, question)
        problems += _fact_problems(fact, held, known) if fact is not None else _denial_problems(sentence, held)
        problems += ["what it cites contradicts it"] if recorded == "contradicted" else []
        claims.append(
            CheckedClaim(
                text=sentence,
                num_cited=sum(len(claim.cited) for claim in figured),
                num_right=_right_citations(sentence, fact, figured, held),
                is_covered=bool(held),
                problems=tuple(problems),
                relation=recorded or told,
            )
        )
    return CheckedAnswer(claims=tuple(claims))


def _figure_problems(figured: Sequence[Any]) -> list[str]:
    if not any(claim.cited for claim in figured):
        return ["it cites nothing"]
    problems = [f"there is no evidence [{name}]" for claim in figured for name in claim.unresolved]
    return problems + [f"{figure} does not stand in what it cites" for claim in figured for figure in claim.unfounded]


def _recorded(sentence: str, held: Sequence[Evidence]) -> Relation | None:
    """What cited records say of a number right behind the name of one of their members, "spent 1,200"; None if nothing.

    So that a number of the record is not taken for another of its members.
    """
    told = [fact for piece in held for fact in facts_of(piece.id, piece.value)]
    bare = " ".join(_CITATION.sub(" ", sentence).split())
    agreed = []
    for attribute in sorted({fact.attribute for fact in told}):
        name = re.escape(attribute.replace("_", " "))
        for shown in re.finditer(rf"\b(?i:{name})\b{_BESIDE}", bare):
            values = [fact.value for fact in told if fact.attribute == attribute]
            agreed.append(any(agrees(shown["value"], value) for value in values))
    return None if not agreed else "entailed" if all(agreed) else "contradicted"


def _denial_problems(sentence: str, held: Sequence[Evidence]) -> list[str]:
    """A claim that denies, where nothing that it cites does: that its figures stand there is no support."""
    denies = _DENIES.search(_CITATION.sub(" ", sentence)) is not None
    is_denied = any(_DENIES.search(json.dumps(piece.value, ensure_ascii=False, default=str)) for piece in held)
    return ["it denies what nothing that it cites denies"] if held and denies and not is_denied else []


def _fact_problems(fact: Fact, held: Sequence[Evidence], known: Sequence[Fact]) -> list[str]:
    if relation(fact, known) == "contradicted":
        return ["the evidence contradicts it"]
    told = relation(fact, [one for piece in held for one in facts_of(piece.id, piece.value)])
    if told == "entailed" or not held:
        return []
    if fact.is_denied:
        return ["what it cites does not say so"]
    stands = any(_stands(str(fact.value), piece) for piece in held)
    return [] if stands else [f"{fact.value!r} does not stand in what it cites"]


def _name_problems(sentence: str, held: Sequence[Evidence], question: str) -> list[str]:
    """A name in the claim that neither the cited evidence nor the question knows."""
    names = _NAME.findall(_CITATION.sub(" ", sentence))
    return [
        f"{name} does not stand in what it cites"
        for name in names
        if held and not any(_stands(name, piece) for piece in held) and not _holds(question, name)
    ]


def _right_citations(sentence: str, fact: Fact | None, figured: Sequence[Any], held: Sequence[Evidence]) -> int:
    """Citations that hold a figure of the claim, or, where it has none, what it states or names."""
    from strop.tools.figures import figures

    bare = _CITATION.sub(" ", sentence)
    if figures(bare):
        return int(sum(claim.right for claim in figured))
    sought = [str(fact.value)] if fact is not None else _NAME.findall(bare)
    right = {piece.id for piece in held if not sought or any(_stands(one, piece) for one in sought)}
    return sum(name in right for claim in figured for name in claim.cited)


def _stands(words: str, piece: Evidence) -> bool:
    from strop.tools.figures import figures, figures_of

    told = json.dumps(piece.value, ensure_ascii=False, default=str) + " " + re.sub(r"[/_\-.]+", " ", piece.id)
    stated = figures(words)
    return _holds(told, words) or bool(stated and stated <= figures_of(piece.value))


def _holds(told: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(normalise(words))}(?!\w)", normalise(told)) is not None


def evidence_in(task: Task) -> tuple[Evidence, ...]:
    """What the task gives to rest on: ``reference["evidence"]`` (id → text or JSON), the results of tools in the
    prompt that are no errors, and the prompt's documents, lines that begin with ``[id]``. Raises: VerifierError."""
    from strop.tools import Evidence, ToolRecord, ToolResult, evidence_of
    from strop.types import ToolCall

    given = task.reference.get("evidence", {})
    if not isinstance(given, Mapping):
        raise VerifierError(
            f"the evidence of task {task.id} is no mapping",
            where=task.source or task.id,
            why='GroundedAnswer takes {"evidence": {"id": text or JSON}}, results of tools and "[id] text" lines',
            do="mend the reference",
        )
    pieces = [Evidence(id=str(name), value=value) for name, value in given.items()]
    for message in task.prompt:
        if message.role != "tool":
            pieces += [Evidence(id=name, value=said) for name, said in _DOCUMENT.findall(message.content)]
            continue
        value = _result(message.content)
        if isinstance(value, Mapping) and "error" in value:
            continue
        call = ToolCall(name=message.name or "tool", arguments={})
        result = ToolResult(content=message.content, state="ok", value=value)
        pieces += evidence_of([ToolRecord(number=0, call=call, result=result, contract_digest=None, index_digest=None)])
    return tuple(pieces)


def _result(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


@dataclass(frozen=True, kw_only=True)
class GroundedAnswer:
    """Passes a completion in which every claim is supported by the evidence that it cites, see ``check_claims``.

    Every citation must hold something of its claim; what ``reference["must_say"]`` lists must stand in the claims. An
    answer that claims nothing fails, unless ``reference["answerable"]`` is false: then any claim does. The score is
    grounded × citation precision × share of what must be said. A truncated completion fails.
    """

    name: str = "grounded"

    @property
    def digest(self) -> str:
        """Identity of the files that read and compare, and of the settings."""
        ours = [__file__, *calls.code_files(), *(str(module.__file__) for module in (accepted, facts, fields, text))]
        tools = Path(__file__).parents[1] / "tools"
        files = [*ours, *(str(tools / f"{name}.py") for name in ("evidence", "figures"))]
        return digest_json([*map(digest_file, files), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        evidence = evidence_in(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        try:
            answer = spoken(completion.text)
        except ValueError as error:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=(str(error),))
        checked = check_claims(answer, evidence, question=_question(task))
        if not task.reference.get("answerable", True):
            silent = not checked.claims and says_something(answer)
            reason = "claims nothing" if silent else "says nothing, or claims something where nothing can be known"
            return Verdict(score=float(silent), passed=silent, reasons=(reason,))
        if not checked.claims:
            return Verdict(score=0.0, passed=False, reasons=("claims nothing",))
        reasons = [f"{claim.text[:60]!r}: {problem}" for claim in checked.claims for problem in claim.problems]
        precision = checked.precision if checked.precision is not None else 0.0
        reasons += ["a citation holds nothing of its claim"] if 0 < precision < 1 and not reasons else []
        must = task.reference.get("must_say", ())
        unsaid = [one for one in must if not _says(checked, one)]
        reasons += [f"{one!r} is not said" for one in unsaid]
        shares = (checked.grounded or 0.0, precision, 1 - len(unsaid) / len(must) if must else 1.0)
        score = reduce(lambda left, right: left * right, shares)
        passed = not reasons and score == 1.0
        return Verdict(score=score, passed=passed, reasons=tuple(reasons) or ("grounded",))


def _question(task: Task) -> str:
    """What the user asked, without the documents that stand beside it."""
    return "\n".join(_DOCUMENT.sub("", message.content) for message in task.prompt if message.role == "user")


def _says(checked: CheckedAnswer, wanted: Any) -> bool:
    from strop.tools.figures import figures

    stated = figures(str(wanted))
    plain: Iterable[str] = [_CITATION.sub(" ", claim.text) for claim in checked.claims if not claim.problems]
    return any(stated <= figures(said) if stated else _holds(said, str(wanted)) for said in plain)


def measure_grounding(task: Task, completion: Completion) -> dict[str, float | None]:
    """How an answer rests on its evidence; None where there is no claim, citation or fact to divide by.

    ``grounded_claims`` and ``unsupported_claims`` over claims; ``citation_coverage``: claims with a citation that
    resolves; ``citation_precision``: citations that hold something of their claim; ``evidence_consistency``: entailed
    over entailed and contradicted; ``without_evidence``: something was claimed and nothing of it is supported. Of a
    truncated answer nothing is known.
    """
    names = ("grounded_claims", "unsupported_claims", "citation_coverage", "citation_precision")
    nothing = dict.fromkeys((*names, "evidence_consistency", "without_evidence"))
    try:
        answer = "" if completion.is_truncated else spoken(completion.text)
    except ValueError:
        answer = ""
    checked = check_claims(answer, evidence_in(task), question=_question(task))
    if checked.grounded is None:
        return dict(nothing)
    return {
        "grounded_claims": checked.grounded,
        "unsupported_claims": 1 - checked.grounded,
        "citation_coverage": checked.coverage,
        "citation_precision": checked.precision,
        "evidence_consistency": checked.consistency,
        "without_evidence": float(checked.grounded == 0),
    }


def audit_cases() -> list[AuditCase]:
    """Answers of known worth, by which it is audited."""
    from strop.verifiers.form_cases import grounded_cases

    return grounded_cases()
