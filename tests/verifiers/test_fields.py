"""The facts of an answer are compared field by field, in whatever notation they stand."""

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Task
from strop.verifiers import audit, reference_cases
from strop.verifiers.fields import FieldsAnswer, agrees, match_fields, measure_fields, read_fields

DUE = {"vendor": "ACME Ltd", "total": 1200, "due_date": "2025-10-31", "lines.0.account": "6100"}
GOLD = '{"vendor": "ACME Ltd", "total": 1200, "due_date": "2025-10-31", "lines": [{"account": "6100"}]}'
LABELS = {"vendor": "ACME Ltd", "total": 1200, "due_date": "2025-10-31"}


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(fields: object = DUE, **more: object) -> Task:
    return Task(id="t", prompt=(), reference={"fields": fields, **more}, source="f:1")


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ("1,200.00", 1200, True),
        ("EUR 1,200", 1200, True),
        ("$1200", 1200, True),
        ("1200 EUR", 1200, True),
        (1200.0, 1200, True),
        ("-1,200", -1200, True),
        ("-1,200", 1200, False),
        ("1200 or 1300", 1200, False),
        ("1,20", 120, False),
        ("12%", 12, False),
        ("1200", "1,200", True),
        ("USD 1200", "EUR 1200", False),
        ("acme  ltd.", "ACME Ltd", True),
        ("ACME", "ACME Ltd", False),
        ("2025-10-31", "2025-10-31", True),
        ("2025-10-3", "2025-10-31", False),
        (True, 1, False),
        ("true", True, True),
        (False, True, False),
        (["a", 1], ["A", "1.0"], True),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        (None, "x", False),
    ],
)
def test_values_agree_whatever_their_notation(value: object, expected: object, same: bool) -> None:
    assert agrees(value, expected) is same


@pytest.mark.capability("EV-23")
@pytest.mark.parametrize(
    ("answer", "complete", "present"),
    [
        (GOLD, 1.0, 1.0),
        (GOLD.replace("1200", "1300"), 3 / 4, 1.0),
        ('{"vendor": "ACME Ltd", "total": null, "due_date": ""}', 1 / 4, 1 / 4),
        ('{"other": 1}', 0.0, 0.0),
        ("no fields at all", 0.0, 0.0),
    ],
)
def test_completeness_is_right_fields_over_due_fields(answer: str, complete: float, present: float) -> None:
    assert measure_fields(task(), said(answer)) == {"field_complete": complete, "field_present": present}


def test_fields_may_stand_on_labelled_lines() -> None:
    lines = "The invoice:\n- **Vendor:** ACME Ltd\n- Total: EUR 1,200.00\nDue date: 2025-10-31\n"
    verdict = FieldsAnswer()(task(LABELS), said(lines))
    assert verdict.passed, verdict.reasons
    assert read_fields(lines) == {"vendor": "ACME Ltd", "total": "EUR 1,200.00", "due date": "2025-10-31"}
    wrong = FieldsAnswer()(task(LABELS), said(lines.replace("ACME", "Bolt")))
    assert (wrong.score, wrong.reasons) == (pytest.approx(2 / 3), ("wrong: vendor",))


def test_other_names_for_a_value_are_accepted_where_the_task_gives_them() -> None:
    other = said('{"vendor": "ACME Limited"}')
    assert not FieldsAnswer()(task({"vendor": "ACME Ltd"}), other).passed
    assert FieldsAnswer()(task({"vendor": "ACME Ltd"}, aliases={"vendor": ["acme limited"]}), other).passed


def test_further_fields_are_refused_only_where_the_setting_says_so() -> None:
    more = said('{"vendor": "ACME", "vendor2": "Bolt"}')
    assert FieldsAnswer()(task({"vendor": "ACME"}), more).passed
    assert FieldsAnswer(extra="refused")(task({"vendor": "ACME"}), more).reasons == ("extra: vendor2",)
    assert FieldsAnswer(extra="refused")(task({"vendor": "ACME"}), more).score == 1 / 2


def test_nested_fields_are_found_by_their_path() -> None:
    match = match_fields({"a": {"b": [1, {"c": 2}]}}, {"a.b.1.c": 2, "a.b.0": 1, "a.b.2": 3, "a.x": 1})
    assert (match.right, match.missing) == (("a.b.1.c", "a.b.0"), ("a.b.2", "a.x"))


def test_a_task_without_fields_is_refused() -> None:
    with pytest.raises(VerifierError, match="says no fields"):
        FieldsAnswer()(task({}), said(GOLD))


def test_the_judge_of_fields_passes_its_audit() -> None:
    wrong = [GOLD.replace("1200", "1201"), GOLD.replace("ACME", "AC"), GOLD.replace("10-31", "10-30"), "{}", ""]
    cheats = [
        GOLD.replace('"total": 1200', '"total": [1100, 1200, 1300]'),
        GOLD.replace('"total": 1200', '"total": "1100 or 1200"'),
        GOLD.replace('"total": 1200', '"total": 1100, "total": 1200'),
        GOLD + GOLD.replace("1200", "1300"),
        "Vendor: ACME Ltd\nVendor: Bolt\nTotal: 1200\nDue date: 2025-10-31\nlines.0.account: 6100",
        GOLD.replace('"6100"', '"6100, 6200, 6300"'),
        "All fields are complete and right.",
    ]
    cases = reference_cases([task()], lambda _: GOLD, lambda _: wrong, lambda _: cheats)
    assert audit(FieldsAnswer(), cases).require().num_cheats == 7
