"""Rules of a system prompt, kept and broken."""

from typing import Any

import pytest

from measured_answers import RIGHT, said, task
from strop.errors import VerifierError
from strop.evals.measures import check_rules, language_of, measure_rules


def kept(text: str, **rules: Any) -> bool | None:
    return check_rules(task(reference={"rules": rules}), said(text))[next(iter(rules))]


@pytest.mark.capability("EV-24")
@pytest.mark.parametrize(
    ("rule", "wanted", "good", "bad"),
    [
        ("language", "de", "Das Budget ist nicht groß und wird knapp.", "The budget is not large and it is short."),
        ("language", "en", "The budget is not large.", "Le budget n'est pas grand pour nous."),
        ("language", "zh", "预算不够。", "The budget is not enough for you."),
        ("max_words", 3, "It is 7.", "It is 7 now."),
        ("min_words", 3, "It is 7.", "It's 7."),
        ("max_characters", 8, "It is 7.", "It is 77."),
        ("forbidden", ["guarantee", "for sure"], "It may grow; guarantees are rare.", "It will grow, for sure."),
        ("must_mention", ["VAT"], "Plus vat.", "Plus vats."),
        ("forbidden", ["!"], "Well. Done.", "Well done!"),
        ("forbidden", ["C++", "etc."], "In C, and the like; etcetera.", "In C++, etc."),
        ("starts_with", "Answer:", "Answer: 7", "The Answer: 7"),
        ("ends_with", "Regards.", "It is 7. Regards.\n", "Regards. It is 7."),
        ("format", {"kind": "json"}, '{"a": 1}', "a: 1"),
    ],
)
def test_a_rule_is_kept_by_one_answer_and_broken_by_another(rule: str, wanted: Any, good: str, bad: str) -> None:
    assert kept(good, **{rule: wanted}) is True
    assert kept(bad, **{rule: wanted}) is False


@pytest.mark.capability("EV-24")
def test_adherence_asks_for_every_rule_and_the_share_says_how_many_are_kept() -> None:
    asked = task(reference={"rules": {"max_words": 4, "must_mention": ["VAT"], "forbidden": ["sorry"]}})
    assert measure_rules(asked, said("Plus VAT."), RIGHT) == {"adherence": 1.0, "rules_kept": 1.0}
    assert measure_rules(asked, said("Sorry, plus VAT."), RIGHT) == {
        "adherence": 0.0,
        "rules_kept": pytest.approx(2 / 3),
    }


def test_a_language_that_cannot_be_told_neither_keeps_nor_breaks_the_rule() -> None:
    assert language_of("4503 [query_erp].") is None
    asked = task(reference={"rules": {"language": "en", "max_words": 3}})
    assert measure_rules(asked, said("4503 [query_erp]."), RIGHT) == {"adherence": None, "rules_kept": 1.0}
    assert measure_rules(asked, said("1 2 3 4"), RIGHT) == {"adherence": 0.0, "rules_kept": 0.0}


def test_a_task_without_rules_is_not_counted_and_a_truncated_answer_keeps_none() -> None:
    assert measure_rules(task(), said("x"), RIGHT) == {"adherence": None, "rules_kept": None}
    asked = task(reference={"rules": {"max_words": 9}})
    assert measure_rules(asked, said("x", finish_reason="length"), RIGHT)["adherence"] == 0.0


def test_silence_keeps_no_rule_and_of_a_call_alone_nothing_can_be_told() -> None:
    asked = task(reference={"rules": {"max_words": 9, "forbidden": ["budget"]}})
    for silence in ("", " \n", "…", "<think>nothing</think>"):
        assert measure_rules(asked, said(silence), RIGHT) == {"adherence": 0.0, "rules_kept": 0.0}
    call = '<tool_call>{"name": "get_budget", "arguments": {}}</tool_call>'
    assert measure_rules(asked, said(call), RIGHT) == {"adherence": None, "rules_kept": None}
    assert measure_rules(asked, said("The budget." + call), RIGHT)["adherence"] == 0.0


def test_rules_hold_for_what_is_said_and_not_for_the_thoughts_before_it() -> None:
    asked = task(reference={"rules": {"forbidden": ["budget"]}})
    assert measure_rules(asked, said("<think>the budget</think>It is 7."), RIGHT)["adherence"] == 1.0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"max_word": 3}, "`max_words`"),
        ({"language": "xx"}, "one of en, de"),
        ({"forbidden": "sorry"}, "a list of words"),
        ({"forbidden": 5}, "a list of words"),
        ({"must_mention": ["VAT", 5]}, "a list of words"),
        ({"forbidden": ["a", " "]}, "a list of words"),
        ({"max_words": "3"}, "a whole number"),
        ({"max_words": True}, "a whole number"),
        ({"max_characters": -1}, "a whole number"),
        ({"starts_with": 5}, "a text"),
        ({"ends_with": ""}, "a text"),
        ({}, "no rules"),
    ],
)
def test_a_rule_that_cannot_be_checked_is_refused(rules: Any, message: str) -> None:
    with pytest.raises(VerifierError, match=message):
        check_rules(task(reference={"rules": rules}), said("x"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gastos en el primer trimestre en Madrid.", "es"),
        ("Le montant de la facture de mars est de 300 euros.", "fr"),
        ("De rekening van de afdeling is niet betaald.", "nl"),
        ("Il saldo di marzo non è stato pagato.", "it"),
        ("Montant de facture de mars de Paris.", None),  # "de" is French, Spanish and Dutch
        ("Solicitud de pago de la empresa de Madrid.", None),
    ],
)
def test_a_function_word_that_languages_share_speaks_for_none_of_them(text: str, expected: str | None) -> None:
    assert language_of(text) == expected


def test_languages_are_told_by_script_and_by_function_words() -> None:
    assert language_of("これは予算です。") == "ja"
    assert language_of("Бюджет мал.") == "ru"
    assert language_of("El presupuesto es para la empresa y no para los empleados.") == "es"
    assert language_of("") is None
