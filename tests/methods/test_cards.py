"""Every method has a card that is complete, true about its files, and the same in the docs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import strop.methods
from strop.methods.cards import CARDS, card_text, load_card

ROOT = Path(__file__).parent.parent.parent
every_card = pytest.mark.parametrize("name", CARDS)


@pytest.mark.capability("LC-15")
def test_every_method_that_trains_has_a_card_and_the_card_names_its_stream() -> None:
    methods = {name for name in strop.methods.__all__ if name != "num_steps"}
    assert methods <= set(CARDS)
    assert {name for name in CARDS if load_card(name).method} == methods


@pytest.mark.capability("LC-15")
@every_card
def test_the_files_that_a_card_names_exist_and_the_tests_test_something(name: str) -> None:
    card = load_card(name)
    for file in filter(None, (card.objective, card.credit, card.method, *card.tests)):
        assert (ROOT / file).is_file(), file
    assert card.tests
    for file in card.tests:
        assert "def test_" in (ROOT / file).read_text()


@pytest.mark.capability("LC-15")
@every_card
def test_a_card_answers_every_question(name: str) -> None:
    card = load_card(name)
    for question in ("title", "summary", "formula", "source", "data", "stability"):
        assert len(getattr(card, question)) > 10, question
    assert len(card.breaks) >= 3
    assert len(card.debug) >= 3
    assert card.formula in card_text(name)
    text = " ".join(card_text(name).split())
    answers = (card.source, card.data, card.stability, *card.breaks, *card.debug, *card.tests, card.credit)
    assert all(" ".join(answer.split()) in text for answer in answers)


@every_card
def test_the_docs_are_in_step_with_the_cards(name: str) -> None:
    page = ROOT / "docs" / "methods" / f"{name}.md"
    assert page.read_text() == card_text(name) + "\n", "run: python -m strop.methods.cards docs/methods"


def test_an_unknown_name_is_no_card() -> None:
    with pytest.raises(KeyError):
        load_card("../sft")


def test_reading_a_card_does_not_import_torch() -> None:
    code = "import sys; from strop.methods.cards import card_text; card_text('dpo'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
