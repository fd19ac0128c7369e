"""A change that is called compatible is: every value that was valid stays valid. Anything else breaks the test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from strop.errors import MismatchError, ToolError
from strop.tools import ToolContract, ToolRegistry
from strop.tools.compatibility import contract_changes, narrower
from strop.tools.lock import check_tools, lock_tools

AMOUNT = {"type": "integer", "minimum": 1}
PAY = ToolContract(
    name="pay",
    description="Pay a vendor.",
    parameters={
        "type": "object",
        "properties": {"vendor": {"type": "string"}, "amount": AMOUNT},
        "required": ["vendor"],
        "additionalProperties": False,
    },
    returns={"type": "object", "properties": {"status": {"enum": ["prepared", "paid"]}}, "required": ["status"]},
    permission="treasury.write",
    version="1.2.0",
)
ASK = ToolContract(name="ask", description="Ask.", parameters={"type": "object"})


def with_parameters(**changed: Any) -> ToolContract:
    return replace(PAY, parameters={**PAY.parameters, **changed})


def properties(**changed: Any) -> dict[str, Any]:
    return {**PAY.parameters["properties"], **changed}


CHANGES = [
    ("breaking", with_parameters(required=["vendor", "amount"])),
    ("breaking", with_parameters(properties=properties(amount={"type": "integer", "minimum": 2}))),
    ("breaking", with_parameters(properties=properties(amount={"type": "string"}))),
    ("breaking", with_parameters(properties={"vendor": {"type": "string"}})),
    ("breaking", with_parameters(properties=properties(vendor={"type": "string", "enum": ["X", "Y"]}))),
    ("breaking", replace(PAY, returns={**PAY.returns, "required": []})),
    (
        "breaking",
        replace(PAY, returns={**PAY.returns, "properties": {"status": {"enum": ["prepared", "paid", "late"]}}}),
    ),
    ("breaking", replace(PAY, permission="treasury.admin")),
    ("breaking", replace(PAY, effect="write")),
    ("breaking", replace(PAY, tenants=("bank_A",))),
    ("compatible", with_parameters(required=[])),
    ("compatible", with_parameters(properties=properties(memo={"type": "string"}))),
    ("compatible", with_parameters(properties=properties(amount={"type": "number", "minimum": 0}))),
    ("compatible", with_parameters(additionalProperties=True)),
    ("compatible", replace(PAY, returns={**PAY.returns, "properties": {"status": {"enum": ["paid"]}}})),
    ("wording", replace(PAY, description="Pays a vendor.")),
    ("wording", with_parameters(properties=properties(amount={**AMOUNT, "description": "in euros"}))),
]
VERSIONS = {"breaking": ("2.0.0", "1.3.0"), "compatible": ("1.3.0", "1.2.1"), "wording": ("1.2.1", "1.2.0")}


@pytest.mark.capability("TU-21", "CK-9")
@pytest.mark.parametrize(("kind", "changed"), CHANGES, ids=[str(number) for number in range(len(CHANGES))])
def test_a_changed_contract_breaks_the_test_until_its_version_says_so(
    tmp_path: Path, kind: str, changed: ToolContract
) -> None:
    path = tmp_path / "tools.lock.json"
    lock_tools(ToolRegistry([PAY, ASK]), path)
    enough, too_little = VERSIONS[kind]
    with pytest.raises(MismatchError, match=f"pay: {kind}"):
        check_tools(ToolRegistry([changed, ASK]), path)
    with pytest.raises(MismatchError, match="needs a higher"):
        lock_tools(ToolRegistry([replace(changed, version=too_little), ASK]), path)
    announced = ToolRegistry([replace(changed, version=enough), ASK])
    with pytest.raises(MismatchError):
        check_tools(announced, path)
    assert [change.kind for change in lock_tools(announced, path)] == [kind]
    assert check_tools(announced, path) == ()


@pytest.mark.capability("TU-21")
@pytest.mark.parametrize(("kind", "changed"), CHANGES, ids=[str(number) for number in range(len(CHANGES))])
def test_who_accepts_compatible_changes_is_still_told_of_breaking_ones(
    tmp_path: Path, kind: str, changed: ToolContract
) -> None:
    path = tmp_path / "tools.lock.json"
    lock_tools(ToolRegistry([PAY]), path)
    announced = ToolRegistry([replace(changed, version=VERSIONS[kind][0])])
    if kind == "breaking":
        with pytest.raises(MismatchError, match="breaking"):
            check_tools(announced, path, accept="compatible")
    else:
        assert len(check_tools(announced, path, accept="compatible")) == 1
        silent = ToolRegistry([replace(changed, version=VERSIONS[kind][1])])
        with pytest.raises(MismatchError, match="needs a higher"):
            check_tools(silent, path, accept="compatible")


def test_unchanged_contracts_pass_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "tools.lock.json"
    lock_tools(ToolRegistry([PAY, ASK]), path)
    assert check_tools(ToolRegistry([ASK, PAY]), path) == ()
    assert ToolRegistry([ASK, PAY]).digest == ToolRegistry([PAY, ASK]).digest


def test_a_tool_that_is_gone_breaks_and_a_new_one_does_not() -> None:
    both, one = {"pay": PAY.as_json, "ask": ASK.as_json}, {"pay": PAY.as_json}
    assert [(c.tool, c.kind) for c in contract_changes(both, one)] == [("ask", "breaking")]
    assert [(c.tool, c.kind) for c in contract_changes(one, both)] == [("ask", "compatible")]


def test_a_lock_that_is_torn_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tools.lock.json"
    path.write_text('{"contracts": [')
    with pytest.raises(MismatchError, match="cannot be read"):
        check_tools(ToolRegistry([PAY]), path)


NUMBER = {"type": "number"}
WIDER = [
    ({"items": {"type": "integer"}}, {"items": NUMBER}),
    ({"additionalProperties": False}, {"additionalProperties": NUMBER}),
    ({"properties": {"a": {"type": "integer"}}, "additionalProperties": False}, {"additionalProperties": NUMBER}),
    ({"properties": {"a": False}}, {"properties": {"a": {"type": "string"}}}),
    ({"minimum": 2}, {"exclusiveMinimum": 1}),
    ({"exclusiveMaximum": 2}, {"maximum": 2}),
    ({"exclusiveMinimum": 2}, {"exclusiveMinimum": 2, "title": "t"}),
    ({"minLength": 2, "maxLength": 3}, {"minLength": 1, "maxLength": 4}),
    ({"const": "a"}, {"enum": ["a", "b"]}),
    ({"enum": [1, 2]}, {"type": "integer"}),
    ({"type": ["integer", "null"]}, {"type": ["number", "null", "string"]}),
]
NOT_WIDER = [
    ({"minimum": 1}, {"exclusiveMinimum": 1}),
    ({"maximum": 1}, {"exclusiveMaximum": 1}),
    ({"properties": {"a": {"type": "string"}}}, {"additionalProperties": NUMBER}),
    ({"properties": {"b": {}}}, {"properties": {"a": {"type": "string"}}}),
    ({"type": "string"}, {"type": "string", "pattern": "a"}),
    ({"enum": [1]}, {"enum": [True]}),
    ({"anyOf": [NUMBER]}, {"anyOf": [{"type": "string"}]}),
    ({}, False),
]


@pytest.mark.capability("TU-21")
def test_pairs_of_schemas_worked_by_hand() -> None:
    for narrow, wide in WIDER:
        assert narrower(narrow, wide) == [], (narrow, wide)
        assert narrower(wide, narrow) or wide.keys() - narrow.keys() == {"title"}, (wide, narrow)
    for old, new in NOT_WIDER:
        assert narrower(old, new), (old, new)


SCALARS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.5, True, False, None, "", "a", "bb"]))


def schemas(depth: int) -> st.SearchStrategy[Any]:
    types = st.sampled_from(["integer", "number", "string", "boolean", "object", "array", "null"])
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": st.one_of(types, st.lists(types, min_size=1, max_size=2, unique=True)),
        "minimum": st.integers(-2, 2),
        "maximum": st.integers(-2, 2),
        "exclusiveMinimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "multipleOf": st.integers(1, 2),
        "enum": st.lists(SCALARS, min_size=1, max_size=4),
        "const": SCALARS,
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "description": st.just("words"),
    }
    if depth:
        inner = st.one_of(st.booleans(), schemas(depth - 1))
        keywords["properties"] = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
        keywords["additionalProperties"] = inner
        keywords["items"] = inner
    names = st.lists(st.sampled_from(sorted(keywords)), max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: keywords[name] for name in chosen}))


def edits(schema: Any) -> st.SearchStrategy[Any]:
    """The schema with one keyword dropped, or with those of another schema over it."""
    dropped = [{k: v for k, v in schema.items() if k != key} for key in schema]
    over = schemas(1).map(lambda other: {**schema, **other})
    return st.one_of(st.sampled_from([*dropped, {}]), over, over.map(lambda new: {**new, "title": "t"}))


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
    max_leaves=4,
)


@pytest.mark.capability("TU-21")
@settings(max_examples=400, deadline=None)
@example(({"enum": [1]}, {"enum": [True]}), [1])
@example(({"type": "number"}, {"type": "integer"}), [1.5])
@given(schemas(2).flatmap(lambda old: st.tuples(st.just(old), edits(old))), st.lists(VALUES, min_size=12, max_size=12))
def test_every_value_of_a_schema_is_one_of_a_schema_that_is_called_wider(
    pair: tuple[dict[str, Any], dict[str, Any]], values: list[Any]
) -> None:
    old, new = pair
    assume(not narrower(old, new))
    before, after = (jsonschema.Draft202012Validator(schema) for schema in (old, new))
    for value in values:
        assert not before.is_valid(value) or after.is_valid(value), value


@pytest.mark.parametrize("version", ["1.2", "1.2.x", "01.0.0", ""])
def test_a_version_is_three_numbers(version: str) -> None:
    with pytest.raises(ToolError, match="three numbers"):
        replace(PAY, version=version)
