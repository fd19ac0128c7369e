import pytest

from constraint_texts import compiled, tiny_vocabulary, write
from strop.constraints import compile_constraint, preflight
from strop.errors import ConstraintError
from strop.types import Constraint


def plan(schema, *, strict=True):
    return preflight(Constraint(kind="json_schema", value=schema, strict=strict), tiny_vocabulary())


EXACT = [
    {"not": {"required": ["a"]}}, {"not": {"enum": ["ab", "b", 3, None, True]}}, {"not": {"minimum": 3}},
    {"not": {"not": {"type": "string"}}}, {"not": {"anyOf": [{"maxLength": 3}, {"type": "number"}]}},
    {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}},
    {"dependentRequired": {"a": ["b"]}}, {"dependentSchemas": {"a": {"maxProperties": 1}}},
    {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
    {"oneOf": [{"type": "string"}, {"type": "null"}]}, {"oneOf": [{"minimum": 2}, {"maximum": 5}]},
    {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"patternProperties": {"^(one|two)$": {"type": "integer"}}, "additionalProperties": False},
    {"minLength": 2, "maxLength": 4.0}, {"multipleOf": 0.5}, {"pattern": r"^\w+\s\d$"}, {"uniqueItems": False},
    {"format": "date"}, {"format": "uuid"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}, "b": {"contains": {}}}},
    {"minItems": 1, "maxItems": 3, "prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
]  # fmt: skip
CHECKED_AFTERWARDS = {
    "uniqueItems": {"uniqueItems": True},
    "contains": {"contains": {"type": "integer"}},
    "propertyNames": {"propertyNames": {"maxLength": 3}},
    "unevaluatedProperties": {"unevaluatedProperties": False},
    "unevaluatedItems": {"unevaluatedItems": False},
    "not {pattern}": {"not": {"pattern": "a"}},
    "not {multipleOf}": {"not": {"multipleOf": 3}},
    "format: hostname": {"format": "hostname"},
    "format: regex": {"format": "regex"},
    "minProperties": {
        "type": "object", "minProperties": 2, "properties": {"a": {}, "b": {}, "c": {}}, "additionalProperties": False
    },
    "oneOf": {"oneOf": [{"pattern": "a"}, {"pattern": "b"}]},
}  # fmt: skip
REFUSED = {
    "the schema is false": False,
    "Unsatisfiable": {"type": "integer", "minimum": 5, "maximum": 3},
    "is not valid": {"type": "strin"},
    "of the draft": {"$schema": "http://json-schema.org/draft-03/schema#"},
    "is not a 'regex'": {"pattern": "(?<=a)(b"},
    "cannot enforce": {"patternProperties": {"^[pq]$": {}}},
    "regex parse error": {"pattern": "(?=a)b"},
    "not disjoint": {"patternProperties": {"a": {"type": "null"}, "b": {"type": "integer"}}},
    "a few names": {"patternProperties": {"^[xy]$": {}}, "additionalProperties": False},
    "http://elsewhere": {"$ref": "http://elsewhere/schema"},
    "draft": {"exclusiveMinimum": True, "minimum": 3},
}


@pytest.mark.capability("CD-07")
@pytest.mark.parametrize("schema", EXACT, ids=str)
def test_what_is_exact_is_enforced_token_by_token(schema) -> None:
    found = plan(schema)
    assert (found.enforcement, found.reasons) == ("exact", ())
    language = compiled(schema)
    for seed in range(5):
        text, finished, _ = write(language, language.min_tokens + 30, seed)
        assert finished
        assert language.validate(text) == (), text


@pytest.mark.capability("CD-07")
@pytest.mark.parametrize("feature", CHECKED_AFTERWARDS)
def test_what_is_only_checked_afterwards_is_refused_when_strict_and_named(feature) -> None:
    schema = CHECKED_AFTERWARDS[feature]
    strict, lenient = plan(schema), plan(schema, strict=False)
    assert strict.enforcement == "refused"
    assert strict.is_checkable
    assert lenient.enforcement == "post_validated"
    assert lenient.reasons == strict.reasons
    assert feature in lenient.reasons[0]
    with pytest.raises(ConstraintError, match="strict=False"):
        compiled(schema)
    assert write(compiled(schema, strict=False), 60, seed=1)[1]


def test_what_is_left_out_of_the_grammar_is_judged_when_the_text_is_finished() -> None:
    language = compiled({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, strict=False)
    assert language.accepts("[1,1]")
    assert language.validate("[1,1]") == ("$: [1, 1] has non-unique elements",)
    assert language.validate("[1,2]") == ()


@pytest.mark.capability("CD-07")
@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_enforced_at_all_is_refused_with_its_reason(reason) -> None:
    for strict in (True, False):
        found = plan(REFUSED[reason], strict=strict)
        assert found.enforcement == "refused"
        assert reason in found.reasons[0]
        assert not found.is_checkable


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("regex", "(a", "cannot be read"), ("regex", 3, "is a int"), ("choice", [], "no choices"),
        ("choice", "ab", "no choices"), ("choice", ["a", ""], "a choice is ''"), ("choice", ["a", "a"], "twice"),
        ("lark", "start: (", "the engine refuses"), ("lark", 'start: %json {"type":"null"}', "%json"),
        ("lark", 7, "is a int"), ("tool_calls", [], "no tools"), ("tool_calls", [{"name": "x"}], "has no name"),
        ("json_schema", "{}", "the schema is a text"),
    ],
)  # fmt: skip
def test_values_that_are_no_constraint_are_refused(kind, value, reason) -> None:
    found = preflight(Constraint(kind=kind, value=value), tiny_vocabulary())
    assert found.enforcement == "refused"
    assert reason in found.reasons[0]


def test_an_unknown_format_asserts_nothing_and_is_told() -> None:
    found = plan({"type": "string", "format": "path"})
    assert found.enforcement == "exact"
    assert found.annotations == ("format: path",)


def test_a_schema_cannot_loosen_the_engine_by_its_own_options() -> None:
    schema = {"x-guidance": {"lenient": True, "whitespace_flexible": True}, "type": "object", "contains": {}}
    assert plan(schema).enforcement == "refused"
    del schema["contains"]
    assert not compiled(schema).accepts("{ }")


def test_siblings_of_a_reference_count_from_draft_2019_on() -> None:
    schema = {"$ref": "#/definitions/a", "maximum": 3, "definitions": {"a": {"type": "integer"}}}
    old = compiled({"$schema": "http://json-schema.org/draft-07/schema#", **schema})
    new = compiled(schema)
    assert old.accepts("7")
    assert old.validate("7") == ()
    assert not new.accepts("7")
    assert new.validate("7") != ()


def test_the_order_of_properties_is_part_of_the_language() -> None:
    one = {"properties": {"a": {}, "b": {}}, "required": ["a", "b"], "type": "object"}
    other = {**one, "properties": {"b": {}, "a": {}}}
    assert compiled(one).accepts('{"a":1,"b":2}')
    assert not compiled(other).accepts('{"a":1,"b":2}')
    assert compiled(other).canonical({"a": 1, "b": 2.0}) == '{"b":2,"a":1}'


def test_a_constraint_is_compiled_once() -> None:
    constraint = Constraint(kind="regex", value="[a-z]+")
    assert compile_constraint(constraint, tiny_vocabulary()) is compile_constraint(constraint, tiny_vocabulary())
