"""What can be enforced of a constraint, said before anything is generated: exact, post-validated, refused, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llguidance import LLMatcher

from strop.constraints.negation import Inexpressible, Schema
from strop.constraints.patterns import portable_pattern, python_pattern
from strop.constraints.rewriting import Effort, Rewriter
from strop.constraints.tool_calls import call_format, call_grammar
from strop.constraints.validators import SchemaValidator, parameters_of, tool_name
from strop.constraints.vocabulary import Vocabulary
from strop.errors import ConstraintError
from strop.types import Constraint

Enforcement = Literal["exact", "post_validated", "refused"]
_ATTEMPTS = (
    Effort(),
    Effort(expand_one_of=True),
    Effort(relax=True),
    Effort(relax=True, expand_one_of=True),
    Effort(relax=True, expand_one_of=True, drop_counts=True),
)
_COMPACT = {"whitespace_flexible": False, "coerce_one_of": False, "lenient": False}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What preflight found."""

    enforcement: Enforcement
    """exact: the texts of the language and no others; post_validated: more is let through, and judged when finished."""
    reasons: tuple[str, ...] = ()
    """What is not enforced token by token, or why the constraint is refused."""
    is_checkable: bool = False
    """Refused only because it is strict: otherwise it would be post-validated."""
    annotations: tuple[str, ...] = ()
    """What stands in a schema without asserting anything, such as an unknown format."""
    grammar: str = ""
    """For the engine; empty if refused."""
    schema: Schema | None = None
    """The schema as it was rewritten for the engine, for those that are one."""
    engine: LLMatcher | None = field(default=None, repr=False, compare=False)
    """The grammar compiled; None if refused."""


def preflight(constraint: Constraint, vocabulary: Vocabulary) -> Plan:
    """How ``constraint`` can be enforced for ``vocabulary``; never raises for what a user may have written.

    ``constraint.strict`` refuses everything but exact, and says what would be left to checking afterwards.
    """
    if constraint.kind not in _PLANNERS:
        return Plan(enforcement="refused", reasons=(f"the kinds are {', '.join(_PLANNERS)}",))
    try:
        plan = _PLANNERS[constraint.kind](constraint.value, vocabulary)
    except ConstraintError as error:
        return Plan(enforcement="refused", reasons=(_told(error),))
    if constraint.strict and plan.enforcement == "post_validated":
        return Plan(enforcement="refused", reasons=plan.reasons, annotations=plan.annotations, is_checkable=True)
    return plan


def _told(error: ConstraintError) -> str:
    return ": ".join(filter(None, (error.what, error.where, error.why)))


# --------------------------------------------------------------------------------------------------------- JSON Schema


def _plan_schema(value: Any, vocabulary: Vocabulary) -> Plan:
    if isinstance(value, str):
        raise ConstraintError("the schema is a text", do="hand in the JSON value, not its text")
    return _schema_plan(value, vocabulary, {"item_separator": ",", "key_separator": ":"})


def _schema_plan(schema: Schema, vocabulary: Vocabulary, separators: Mapping[str, str]) -> Plan:
    """The first way of saying the schema that the engine takes; the ways that keep its meaning come first."""
    validator = SchemaValidator(schema)
    refusal: str | None = None
    for attempt in _ATTEMPTS:
        rewriter = Rewriter(validator.schema, validator.known, validator.ref_hides_siblings, attempt)
        try:
            said = rewriter.rewrite(schema)
            grammar = _json_grammar(said, separators)
            engine = _compiled(grammar, vocabulary)
        except Inexpressible as obstacle:
            refusal = refusal or f"the grammar engine cannot enforce {obstacle}"
            continue
        except ConstraintError as error:
            unusable = f" (of a definition: {', '.join(dict.fromkeys(rewriter.unusable))})" * bool(rewriter.unusable)
            refusal = refusal or error.why + unusable
            continue
        reasons = tuple(f"{key}: {why}" for key, why in rewriter.left_out.items())
        return Plan(
            enforcement="post_validated" if reasons else "exact",
            reasons=reasons,
            annotations=tuple(sorted(rewriter.annotations)),
            grammar=grammar,
            schema=said,
            engine=engine,
        )
    raise ConstraintError("the schema cannot be enforced", why=refusal or "")


def _json_grammar(schema: Schema, separators: Mapping[str, str]) -> str:
    if schema is False:
        raise ConstraintError("no instance is valid", why="no instance is valid: the schema is false")
    try:
        return json.dumps({"grammars": [{"json_schema": engine_schema(schema, separators)}]}, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ConstraintError("the schema is not JSON", why=str(error)) from error


def engine_schema(schema: Schema, separators: Mapping[str, str]) -> dict[str, Any]:
    """The schema with the engine's options: no free white space, no approximation, printable characters unescaped."""
    options = {**_COMPACT, **separators, "json_allow_general_unicode_escapes": False}
    return {**(dict(schema) if isinstance(schema, Mapping) else {}), "x-guidance": options}


def _compiled(grammar: str, vocabulary: Vocabulary) -> LLMatcher:
    """Raises: ConstraintError with the engine's first line, warnings included."""
    engine = LLMatcher(vocabulary.engine, grammar, log_level=0)
    if engine.is_error():
        raise ConstraintError("the engine refuses it", why=engine.get_error().strip().splitlines()[0][:300])
    if warnings := engine.get_grammar_warnings():
        raise ConstraintError("the engine warns of it", why=warnings[0].strip().splitlines()[0][:300])
    return engine


# --------------------------------------------------------------------------------------------------------- tool calls


def _plan_tool_calls(value: Any, vocabulary: Vocabulary) -> Plan:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ConstraintError("no tools are given", do="hand in the tools' JSON descriptions")
    form = call_format(vocabulary.template)
    names = [tool_name(tool) for tool in value]
    if len(set(names)) < len(names):
        raise ConstraintError(f"two tools have one name: {', '.join(names)}", do="rename one of them")
    separators = {"item_separator": form.separators[0], "key_separator": form.separators[1]}
    bodies: list[dict[str, Any]] = []
    reasons: list[str] = []
    annotations: list[str] = []
    for name, tool in zip(names, value):
        plan = _schema_plan(parameters_of(tool), vocabulary, separators)
        reasons += [f"{name}: {reason}" for reason in plan.reasons]
        annotations += plan.annotations
        bodies.append(engine_schema(_call_of(name, plan.schema), separators))
    backend = vocabulary.template.tokenizer.get_vocab()
    control = {tag: int(backend[tag]) for tag in vocabulary.template.control_tokens if tag in backend}
    grammar = LLMatcher.grammar_from_lark(call_grammar(form, bodies, control))
    return Plan(
        enforcement="post_validated" if reasons else "exact",
        reasons=tuple(reasons),
        annotations=tuple(sorted(set(annotations))),
        grammar=grammar,
        schema={"anyOf": bodies},
        engine=_compiled(grammar, vocabulary),
    )


def _call_of(name: str, parameters: Schema | None) -> Schema:
    """The schema of a call's JSON; the parameters' definitions move to its root, where their references look."""
    assert parameters is not None
    inner = dict(parameters) if isinstance(parameters, Mapping) else {}
    if "$ref" in json.dumps(inner) and '"$ref": "#"' in json.dumps(inner):
        raise ConstraintError(
            f"the parameters of {name} refer to themselves as a whole",
            why="in a call they are not the whole document",
            do="put the recursive part under $defs",
        )
    moved: dict[str, Any] = {key: inner.pop(key) for key in ("$defs", "definitions", "$schema") if key in inner}
    if re.search(r'"\$ref": "#/(?!\$defs/|definitions/)', json.dumps(inner)):
        raise ConstraintError(
            f"the parameters of {name} refer to a part outside $defs", do="put what is referred to under $defs"
        )
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": inner},
        "required": ["name", "arguments"],
        "additionalProperties": False,
        **moved,
    }


# ----------------------------------------------------------------------------------------------- regex, choice, grammar


def _plan_regex(value: Any, vocabulary: Vocabulary) -> Plan:
    if not isinstance(value, str):
        raise ConstraintError(f"the pattern is a {type(value).__name__}", do="hand in a text")
    python_pattern(value)
    return _plain_plan(LLMatcher.grammar_from_regex(_bare(portable_pattern(value))), vocabulary)


def _bare(pattern: str) -> str:
    """Without anchors at the ends: the whole text matches anyway."""
    pattern = pattern.removeprefix("^")
    return pattern[:-1] if pattern.endswith("$") and not pattern.endswith("\\$") else pattern


def _plan_choice(value: Any, vocabulary: Vocabulary) -> Plan:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ConstraintError("no choices are given", do="hand in a list of texts")
    for text in value:
        if not isinstance(text, str) or not text:
            raise ConstraintError(f"a choice is {text!r}", do="hand in texts that are not empty")
    if len(set(value)) < len(value):
        raise ConstraintError("a choice stands twice", do="name each once")
    return _plain_plan(LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, value))), vocabulary)


def _plan_lark(value: Any, vocabulary: Vocabulary) -> Plan:
    if not isinstance(value, str):
        raise ConstraintError(f"the grammar is a {type(value).__name__}", do="hand in a text")
    if "%json" in value:
        raise ConstraintError(
            "the grammar holds a JSON schema (%json)",
            why="schemas inside a grammar pass no preflight",
            do="use the kind json_schema, or write the JSON as rules",
        )
    return _plain_plan(LLMatcher.grammar_from_lark(value), vocabulary)


def _plain_plan(grammar: str, vocabulary: Vocabulary) -> Plan:
    return Plan(enforcement="exact", grammar=grammar, engine=_compiled(grammar, vocabulary))


_PLANNERS = {
    "json_schema": _plan_schema,
    "regex": _plan_regex,
    "choice": _plan_choice,
    "lark": _plan_lark,
    "tool_calls": _plan_tool_calls,
}
