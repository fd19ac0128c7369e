"""A constraint ready for use: the grammar for one vocabulary, and the judge of its finished texts."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from strop.constraints.canonical import canonical_text
from strop.constraints.closing import Closing
from strop.constraints.guard import Guard, is_loud_number
from strop.constraints.matcher import Matcher
from strop.constraints.patterns import python_pattern
from strop.constraints.preflight import Plan, preflight
from strop.constraints.rewriting import Rewriter
from strop.constraints.validators import SchemaValidator, call_errors
from strop.constraints.vocabulary import Vocabulary
from strop.digests import digest_bytes
from strop.errors import ConstraintError
from strop.types import Constraint

_KEPT = 256
_CACHE: OrderedDict[tuple[str, int, str], CompiledConstraint] = OrderedDict()


def compile_constraint(constraint: Constraint, vocabulary: Vocabulary) -> CompiledConstraint:
    """The constraint for the vocabulary, from the cache if it is there.

    Raises: ConstraintError with preflight's reasons where it is refused, and where no text that ends is found.
    """
    # the order of a schema's properties is part of its language, so the digest must see it
    content = json.dumps([constraint.kind, constraint.value, constraint.strict], ensure_ascii=False, default=repr)
    key = (vocabulary.digest, vocabulary.size, digest_bytes(content.encode()))
    if key in _CACHE:
        _CACHE.move_to_end(key)
        return _CACHE[key]
    plan = preflight(constraint, vocabulary)
    if plan.enforcement == "refused":
        raise ConstraintError(
            f"the constraint ({constraint.kind}) is refused",
            why="; ".join(plan.reasons),
            do="correct it, or say it with what can be enforced"
            + (", or set strict=False to have finished texts checked" if plan.is_checkable else ""),
        )
    assert plan.engine is not None
    compiled = CompiledConstraint(constraint, vocabulary, plan, plan.engine)
    _CACHE[key] = compiled
    if len(_CACHE) > _KEPT:
        _CACHE.popitem(last=False)
    return compiled


@dataclass(eq=False)
class CompiledConstraint:
    """A constraint for one vocabulary; hands out matchers and judges finished texts."""

    constraint: Constraint
    vocabulary: Vocabulary
    plan: Plan
    prototype: LLMatcher = field(repr=False)
    closing: Closing = field(default_factory=Closing)

    def __post_init__(self) -> None:
        self.stop_set = frozenset(self.vocabulary.stop_ids)
        self.is_json = self.constraint.kind in ("json_schema", "tool_calls")
        self.has_free_strings = self.is_json and not _has_patterns(self.plan.schema)
        """Whether every string that is not one of a few is free but for its length."""
        self.suspects = _suspects(self.vocabulary)
        self.plain = _plain(self.vocabulary)
        self.min_tokens = self.matcher().need(2**30)
        """Tokens of a short text of the language, the stop token included: a smaller budget is refused."""

    def matcher(self) -> Matcher:
        """A matcher at the beginning of a text."""
        return Matcher(self, self.prototype.deep_copy(), Guard() if self.is_json else None)

    @cached_property
    def _judge(self) -> SchemaValidator:
        return SchemaValidator(self.constraint.value)

    def validate(self, text: str) -> tuple[str, ...]:
        """Why ``text`` breaks the constraint, by the validator of record; empty if it does not.

        JSON Schema: strict JSON and ``jsonschema``; regex: Python's ``re`` over the whole text; choice: equality; tool
        calls: the template's parser and each tool's signature; lark: the engine itself over the text's bytes.
        """
        value = self.constraint.value
        match self.constraint.kind:
            case "json_schema":
                return self._judge.text_errors(text)
            case "choice":
                return () if text in value else (f"{text[:80]!r} is none of the choices",)
            case "regex":
                return () if python_pattern(value).fullmatch(text) else (f"{text[:80]!r} does not match {value!r}",)
            case "tool_calls":
                return self._call_errors(text)
        return () if self.accepts(text) else (f"{text[:80]!r} is not in the grammar's language",)

    def _call_errors(self, text: str) -> tuple[str, ...]:
        try:
            message = self.vocabulary.template.parse(text)
        except ValueError as error:
            return (str(error),)
        if not message.tool_calls or message.content.strip():
            return ("there is text beside the calls" if message.tool_calls else "there is no tool call",)
        return tuple(error for call in message.tool_calls for error in call_errors(self.constraint.value, call))

    def canonical(self, instance: Any) -> str:
        """The text that a grammar of this schema writes for ``instance``: compact, names in the schema's order."""
        assert self.constraint.kind == "json_schema", "only JSON schemas have instances"
        judge = self._judge
        return canonical_text(instance, judge.schema, Rewriter(document=judge.schema, known=judge.known).resolve)

    def accepts(self, text: str) -> bool:
        """Whether the grammar (not the validator of record) accepts ``text``, whatever its tokens."""
        return self.matcher().completes(self.vocabulary.spell(text))


def _has_patterns(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return "pattern" in schema or any(map(_has_patterns, schema.values()))
    return isinstance(schema, list) and any(map(_has_patterns, schema))


# ------------------------------------------------------------------------------------------ tokens that need looking at


@dataclass(frozen=True, eq=False)
class Plain:
    """Tokens of whole printable characters, without quote and backslash."""

    row: NDArray[np.int32]
    count: int


@dataclass(frozen=True, eq=False)
class Suspects:
    """Tokens that might close a name that stands already, by the number of their quotes, or exceed a double alone."""

    table: NDArray[np.int32]
    """[7, words] packed, by ``Guard.suspicion``: all tokens; in a name, in a text, elsewhere; there before any name."""

    def hits(self, guards: Sequence[Guard | None], rows: NDArray[np.int32]) -> NDArray[np.int64]:
        """Which of the packed ``rows [B, words]`` allow a token that their guard must look at."""
        places = np.array([i for i, guard in enumerate(guards) if guard is not None], dtype=np.int64)
        kinds = [guard.suspicion for guard in guards if guard is not None]
        return places[(rows[places] & self.table[kinds]).any(axis=1)]


@lru_cache(maxsize=8)
def _suspects(vocabulary: Vocabulary) -> Suspects:
    def packed(is_one: Callable[[bytes], bool]) -> NDArray[np.int32]:
        ids = [token for token, text in enumerate(vocabulary.token_bytes) if is_one(text)]
        return vocabulary.pack(np.array(ids, dtype=np.int64))

    one, two, three, four = (packed(lambda text, least=least: text.count(b'"') >= least) for least in (1, 2, 3, 4))  # type: ignore[misc]
    escaping, loud = packed(lambda text: b"\\u" in text), packed(is_loud_number)
    loud |= escaping
    everything = np.full_like(loud, -1)
    return Suspects(np.stack([everything, one | escaping, three, two | loud, four | escaping, four, four | loud]))


@lru_cache(maxsize=8)
def _plain(vocabulary: Vocabulary) -> Plain:
    ids = np.array([t for t, text in enumerate(vocabulary.token_bytes) if _is_plain(text)], dtype=np.int64)
    return Plain(vocabulary.pack(ids), len(ids))


def _is_plain(text: bytes) -> bool:
    try:
        return bool(text) and not any(c in '"\\\x7f' or c < " " for c in text.decode())
    except UnicodeDecodeError:
        return False
