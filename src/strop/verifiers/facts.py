"""Facts in plain sentences and records, and whether known facts entail or contradict another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from strop.verifiers.fields import agrees
from strop.verifiers.text import normalise

Relation = Literal["entailed", "contradicted", "neutral"]

_IS = r"(?:is|was|are|were)(?P<denied> not|n't)?"
_SUBJECT, _ATTRIBUTE, _VALUE = (
    r"(?P<subject>\w[^,;:!?]{0,60}?)",
    r"(?P<attribute>[a-z][\w -]{0,40}?)",
    r"(?P<value>.{1,80}?)",
)
_SHAPES = tuple(
    re.compile(shape + r"\s*[.!]?", re.IGNORECASE)
    for shape in (
        rf"(?:the )?{_ATTRIBUTE} (?:of|for) {_SUBJECT} {_IS} {_VALUE}",
        rf"(?:the )?{_SUBJECT}['’]s? {_ATTRIBUTE} {_IS} {_VALUE}",
        rf"(?:the )?{_SUBJECT} has (?P<denied>not )?(?:an? |the )?{_ATTRIBUTE} of {_VALUE}",
    )
)
_CITATION = re.compile(r"\s*\[[^\[\]\s]{1,120}\]")
_NO_ATTRIBUTES = ("source", "text", "title", "id", "name")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """That an attribute of a subject has a value, or, if denied, has not."""

    subject: str
    attribute: str
    value: Any
    is_denied: bool = False

    @property
    def topic(self) -> tuple[str, str]:
        """What it is about, without notation."""
        return _plain(self.subject), _plain(self.attribute)


def _plain(name: str) -> str:
    return normalise(re.sub(r"[_\-/]+", " ", name))


def read_fact(sentence: str) -> Fact | None:
    """The fact that a sentence states as "the owner of ACME is (not) Lee", "ACME's owner is Lee" or "ACME has an owner
    of Lee", without its citations; None for any other sentence."""
    plain = " ".join(_CITATION.sub("", sentence).split())
    for shape in _SHAPES:
        found = shape.fullmatch(plain)
        if found is not None:
            return Fact(
                subject=found["subject"],
                attribute=found["attribute"],
                value=found["value"],
                is_denied=found["denied"] is not None,
            )
    return None


def facts_of(name: str, value: Any) -> Iterator[Fact]:
    """The facts of a piece of evidence: the sentences of its texts, and the members of its records.

    A record is about its ``name``, its ``id`` or its ``source``, or else about the evidence itself.
    """
    if isinstance(value, str):
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", value):
            fact = read_fact(sentence.strip())
            if fact is not None:
                yield fact
    elif isinstance(value, Mapping):
        names = [str(value[key]) for key in ("name", "id", "source") if isinstance(value.get(key), str | int)] or [name]
        for key, child in value.items():
            if isinstance(child, str | int | float) and key not in _NO_ATTRIBUTES:
                yield from (Fact(subject=one, attribute=key, value=child) for one in names)
            yield from facts_of(names[0], child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from facts_of(name, child)


def relation(fact: Fact, known: Iterable[Fact]) -> Relation:
    """Whether the known facts entail or contradict ``fact``; neutral where they do not speak of it.

    An attribute has one value, unless several are known: then any of them is one, and what is none is contradicted.
    """
    about = [other for other in known if other.topic == fact.topic]
    same = [other for other in about if agrees(fact.value, other.value) or agrees(other.value, fact.value)]
    if any(other.is_denied for other in same):
        holds: bool | None = False
    elif same:
        holds = True
    else:
        holds = False if any(not other.is_denied for other in about) else None
    if holds is None:
        return "neutral"
    return "entailed" if holds != fact.is_denied else "contradicted"
