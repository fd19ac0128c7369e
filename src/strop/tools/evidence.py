"""What tools brought, by the names it is cited under, and whether an answer's claims rest on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.errors import ToolError
from strop.tools.figures import Figure, figures, figures_of
from strop.tools.session import ToolRecord

_CITATION = re.compile(r"\[([^\[\]\s]{1,120})\]")
_SENTENCE = re.compile(r"(?<=[.!?])(?!\S)\s*(?![\s\[])|\n+")
_BEHIND = re.compile(r"([.!?])((?:[ \t]*\[[^\[\]\s]{1,120}\])+)(?=\s|$)")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A piece of what a tool brought."""

    id: str
    """What it is cited by: the result's ``source``, or the tool's name for the whole result."""
    value: Any
    """JSON."""


def evidence_of(records: Sequence[ToolRecord]) -> tuple[Evidence, ...]:
    """All that the calls which were ``ok`` brought: every object with a ``source``, then the result as a whole.

    Raises: ToolError for what is no session's ``records``, such as its ``trace``.
    """
    found = []
    for record in records:
        if not isinstance(record, ToolRecord):
            raise ToolError(
                f"{record!r:.40} is no record of a call",
                why="a trace holds the results as text",
                do="give the session's records: evidence_of(session.records)",
            )
        if record.result.is_ok:
            found += [*_sourced(record.result.value), Evidence(id=record.call.name, value=record.result.value)]
    return tuple(found)


def _sourced(value: Any) -> Iterator[Evidence]:
    if isinstance(value, Mapping):
        if isinstance(value.get("source"), str):
            yield Evidence(id=value["source"], value=value)
        for child in value.values():
            yield from _sourced(child)
    elif isinstance(value, list):
        for child in value:
            yield from _sourced(child)


def citations(text: str) -> tuple[str, ...]:
    """The ids that the text cites, as ``[id]``, in order."""
    return tuple(_CITATION.findall(text))


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of the text; a citation behind the full stop is moved into the sentence before."""
    moved = _BEHIND.sub(r"\2\1", text)
    return tuple(sentence.strip() for sentence in _SENTENCE.split(moved) if sentence.strip())


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that states a figure or cites, beside the evidence."""

    text: str
    cited: tuple[str, ...]
    unresolved: tuple[str, ...]
    """Cited ids that are no evidence."""
    right: int
    """Citations that resolve and, where the claim has figures, hold at least one of them."""
    unfounded: tuple[Figure, ...]
    """Figures that stand in no evidence which the claim cites."""

    @property
    def is_supported(self) -> bool:
        """Whether it cites, every citation resolves, and every figure stands in what it cites."""
        return bool(self.cited) and not self.unresolved and not self.unfounded


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """An answer's claims beside the evidence; a rate without a denominator is None."""

    claims: tuple[Claim, ...]

    @property
    def grounded(self) -> float | None:
        """Supported claims over claims."""
        return _share(sum(claim.is_supported for claim in self.claims), len(self.claims))

    @property
    def coverage(self) -> float | None:
        """Claims with a citation that resolves, over claims."""
        covered = sum(len(claim.cited) > len(claim.unresolved) for claim in self.claims)
        return _share(covered, len(self.claims))

    @property
    def precision(self) -> float | None:
        """Right citations over citations."""
        return _share(sum(claim.right for claim in self.claims), sum(len(claim.cited) for claim in self.claims))

    @property
    def is_without_evidence(self) -> bool:
        """Whether something was claimed of which nothing is supported: a failure, however right it may be."""
        return bool(self.claims) and not any(claim.is_supported for claim in self.claims)


def ground(answer: str, evidence: Sequence[Evidence]) -> Grounding:
    """The claims of ``answer``, each beside the evidence that it cites.

    A claim is a sentence with a figure or a citation; a citation behind the full stop belongs to the sentence before.
    A claim in words alone is taken at its citation's word: whether the words agree is for a verifier to judge.
    """
    known: dict[str, frozenset[Figure]] = {}
    for piece in evidence:
        named = figures(piece.id.replace("/", " "))  # what it is about stands in its name: treasury/acc-1234
        known[piece.id] = known.get(piece.id, frozenset()) | figures_of(piece.value) | named
    claims = [_claim(sentence, known) for sentence in sentences(answer)]
    return Grounding(claims=tuple(claim for claim in claims if claim.cited or claim.unfounded))


def _claim(sentence: str, known: Mapping[str, frozenset[Figure]]) -> Claim:
    cited = citations(sentence)
    stated = figures(_CITATION.sub(" ", sentence))
    held = frozenset[Figure]().union(*(known.get(name, frozenset()) for name in cited))
    right = sum(name in known and (not stated or bool(stated & known[name])) for name in cited)
    return Claim(
        text=sentence,
        cited=cited,
        unresolved=tuple(name for name in cited if name not in known),
        right=right,
        unfounded=tuple(sorted(stated - held, key=str)),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
