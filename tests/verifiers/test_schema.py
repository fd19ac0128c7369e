"""An answer that must be JSON is read strictly and judged by the validator of record."""

import json

import pytest

from strop.errors import ConstraintError, VerifierError
from strop.types import Completion, Task
from strop.verifiers import audit, reference_cases
from strop.verifiers.schema import SchemaAnswer, measure_schema

INVOICE = {
    "type": "object",
    "properties": {
        "vendor": {"type": "string", "minLength": 1},
        "total": {"type": "number", "minimum": 0},
        "due": {"type": "string", "format": "date"},
    },
    "required": ["vendor", "total"],
    "additionalProperties": False,
}
GOLD = '{"vendor": "ACME", "total": 1200.5, "due": "2025-10-31"}'


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(schema: object = INVOICE) -> Task:
    return Task(id="t", prompt=(), reference={"schema": schema}, source="f:1")


UNREADABLE = {
    '{"vendor": "ACME", "total": 1, "total": 2}': "twice",
    '{"vendor": "ACME", "total": NaN}': "NaN",
    '{"vendor": "ACME", "total": 1e999}': "beyond every double",
    "{'vendor': 'ACME', 'total': 1}": "not JSON",
    GOLD + GOLD: "not JSON",
    "Here it is: " + GOLD: "not JSON",
    f"```json\n{GOLD}\n```": "not JSON",
    "": "not JSON",
    '{"vendor": "ACME", "total": 1': "not JSON",
    f'<tool_call>{{"name": "f", "arguments": {GOLD}}}</tool_call>': "calls f",
    "[" * 100_000: "nested too deeply",
}
INVALID = {
    '{"vendor": "ACME"}': "'total' is a required property",
    '{"vendor": "", "total": 1}': "$.vendor",
    '{"vendor": "ACME", "total": -1}': "less than the minimum",
    '{"vendor": "ACME", "total": "1"}': "not of type 'number'",
    '{"vendor": "ACME", "total": 1, "due": "2025-02-30"}': "is not a date",
    '{"vendor": "ACME", "total": 1, "note": "x"}': "'note' was unexpected",
    f"[{GOLD}]": "not of type 'object'",
    json.dumps(GOLD): "not of type 'object'",
}


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:40])
def test_what_is_not_one_json_value_is_unparsable_with_the_reason(text: str) -> None:
    verdict = SchemaAnswer()(task(), said(text))
    assert (verdict.state, verdict.score) == ("unparsable", 0.0)
    assert UNREADABLE[text] in verdict.reasons[0]


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_instance_fails_with_the_place(text: str) -> None:
    verdict = SchemaAnswer()(task(), said(text))
    assert (verdict.state, verdict.passed) == ("graded", False)
    assert any(INVALID[text] in reason for reason in verdict.reasons)


def test_an_instance_passes_in_any_spacing_and_after_reasoning_but_not_cut_off() -> None:
    for text in (GOLD, json.dumps(json.loads(GOLD), indent=2), f"<think>\nHm {{\n</think>\n\n{GOLD}\n"):
        assert SchemaAnswer()(task(), said(text)).passed
    assert SchemaAnswer()(task(), said(GOLD, "length")).reasons == ("truncated",)
    assert SchemaAnswer()(task(), said(f"<think>{GOLD}")).state == "unparsable"


@pytest.mark.parametrize(
    ("text", "whole", "anywhere"),
    [
        (f"```json\n{GOLD}\n```", True, True),
        (f"```\n{GOLD}\n```\n", True, True),
        (GOLD, True, True),
        (f"Here it is:\n```json\n{GOLD}\n```\nDone.", False, True),
        (f"```python\n{GOLD}\n```", False, False),
        (f"```json\n{GOLD}\n```\n```json\n{GOLD}\n```", False, False),
        (f"Here it is: {GOLD}", False, False),
        (f"```json\n{GOLD}", False, False),
    ],
)
def test_fenced_blocks_are_allowed_where_the_setting_says_so(text: str, whole: bool, anywhere: bool) -> None:
    assert SchemaAnswer(fences="whole")(task(), said(text)).passed == whole
    assert SchemaAnswer(fences="anywhere")(task(), said(text)).passed == anywhere


def test_a_task_without_a_schema_or_with_a_broken_one_is_refused() -> None:
    with pytest.raises(VerifierError, match="no schema"):
        SchemaAnswer()(task("{}"), said(GOLD))
    with pytest.raises(ConstraintError, match="not valid"):
        SchemaAnswer()(task({"type": "dict"}), said(GOLD))


def test_measures_tell_json_from_valid_json() -> None:
    assert measure_schema(task(), said(GOLD)) == {"schema_valid": 1.0, "json_valid": 1.0}
    assert measure_schema(task(), said("{}")) == {"schema_valid": 0.0, "json_valid": 1.0}
    assert measure_schema(task(), said("{")) == {"schema_valid": 0.0, "json_valid": 0.0}
    assert measure_schema(task(), said(GOLD, "length")) == {"schema_valid": 0.0, "json_valid": 0.0}


@pytest.mark.parametrize("fences", ["refused", "whole", "anywhere"])
def test_the_judge_of_schemas_passes_its_audit(fences: str) -> None:
    cheats = [
        json.dumps(INVOICE),
        '{"vendor": "ACME", "total": 1, "$schema": "x"}',
        '{"$ref": "#"}',
        "true",
        GOLD + " // valid",
        f'{{"x": {GOLD}, "x": {GOLD}}}',
        "valid",
        f"```json\n{GOLD}\n```\n```json\n{{}}\n```",
    ]
    cases = reference_cases([task()], lambda _: GOLD, lambda _: list(INVALID), lambda _: cheats)
    assert audit(SchemaAnswer(fences=fences), cases).require().num_cheats == 8
