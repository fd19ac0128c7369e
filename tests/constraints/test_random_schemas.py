"""Schemas from a strategy of our own: whatever they combine, finished texts validate and going back restores masks."""

import json

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from constraint_texts import compiled, drawn
from strop.errors import ConstraintError

NAMES = st.sampled_from(["a", "b", "name", "a b", "ü", 'q"', ""])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 99), st.sampled_from(["", "x", "long text", "é\n"]))
BOUND = st.integers(0, 3)


def optional(**strategies):
    return st.fixed_dictionaries({}, optional=strategies)


TEXT = st.builds(
    lambda extra, rest: {"type": "string", **rest, **extra},
    st.sampled_from(
        [{}, {"pattern": "^[a-c]+$"}, {"format": "date"}, {"pattern": r"\d"}, {"minLength": 2, "maxLength": 5}]
    ),
    optional(title=st.just("t")),
)
NUMBER = st.builds(
    lambda kind, low, span: {"type": kind, "minimum": low, **({"maximum": low + span} if span else {})},
    st.sampled_from(["integer", "number"]),
    st.integers(-5, 5),
    st.integers(0, 40),
)
LEAVES = st.one_of(
    TEXT, NUMBER, st.just({}), st.just(True), st.just({"type": ["null", "boolean"]}),
    st.builds(lambda v: {"const": v}, SCALARS),
    st.builds(lambda v: {"enum": v}, st.lists(SCALARS, min_size=1, max_size=4, unique_by=json.dumps)),
    st.builds(lambda v: {"not": {"enum": v}}, st.lists(SCALARS, min_size=1, max_size=3, unique_by=json.dumps)),
    st.sampled_from([{"not": {"type": ["array", "object"]}}, {"not": {"minimum": 2}}, {"type": "number"}]),
)  # fmt: skip


def objects(children):
    def build(properties, required, extra):
        names = [name for name in properties if name in required]
        return {"type": "object", "properties": properties, "required": names, **extra}

    extra = st.one_of(
        st.just({"additionalProperties": False}),
        st.just({}),
        st.builds(lambda child: {"additionalProperties": child}, children),
        st.builds(lambda a, b: {"dependentRequired": {a: [b]}}, NAMES, NAMES),
        st.builds(lambda a, b: {"if": {"required": [a]}, "then": {"required": [b]}}, NAMES, NAMES),
    )
    return st.builds(build, st.dictionaries(NAMES, children, max_size=4), st.sets(NAMES, max_size=3), extra)


def arrays(children):
    def build(items, low, span):
        return {"type": "array", "items": items, "minItems": low, "maxItems": low + span}

    return st.builds(build, children, st.integers(0, 2), BOUND)


SCHEMAS = st.recursive(
    LEAVES,
    lambda children: st.one_of(
        objects(children),
        arrays(children),
        st.builds(lambda *c: {"anyOf": list(c)}, children, children),
        st.builds(lambda a, b: {"oneOf": [{"type": "array", "items": a}, b]}, children, objects(children)),
        st.builds(lambda c: {"$ref": "#/$defs/one", "$defs": {"one": c}}, LEAVES),
    ),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.capability("CD-01", "CD-03")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(schema=SCHEMAS, extra=st.integers(0, 60), seed=st.integers(0, 10**6))
def test_every_finished_text_of_every_schema_validates_and_every_text_finishes(schema, extra, seed) -> None:
    try:
        language = compiled(schema)
    except ConstraintError:
        assume(False)
    budget = language.min_tokens + extra
    *_, (matcher, token_ids) = drawn(language, budget, seed)
    assert matcher.is_finished
    text = language.vocabulary.template.decode(token_ids)
    assert language.validate(text) == (), text
    assert language.accepts(text)


@pytest.mark.capability("CD-01")
@settings(max_examples=25, deadline=None, derandomize=True)
@given(schema=SCHEMAS, back=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_going_back_and_copying_restore_the_same_masks(schema, back, seed) -> None:
    try:
        language = compiled(schema)
    except ConstraintError:
        assume(False)
    *_, (matcher, token_ids) = drawn(language, language.min_tokens + 25, seed)
    back = min(back, len(token_ids))
    fresh = language.matcher()
    for token in token_ids[: len(token_ids) - back]:
        fresh.consume(token)
    gone_back = matcher.copy()
    gone_back.rollback(back)
    again = fresh.copy()
    for token in token_ids[len(token_ids) - back :]:
        assert torch.equal(gone_back.allowed(), again.allowed())
        assert gone_back.forced() == again.forced()
        gone_back.consume(token)
        again.consume(token)
    assert gone_back.is_finished
    assert again.is_finished
