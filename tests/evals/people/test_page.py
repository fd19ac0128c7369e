"""The labelling page in a real browser, at what people do beside the keys: names, mice, input methods, going back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from label_driver import Page, browser, serving
from labelling import two

ENTER = "\ue007"
PLACE = "return document.body.dataset.place === '{}'"
TYPED = """
const comment = document.getElementById("comment");
comment.value = "に";
comment.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, cancelable: true, isComposing: true}));
"""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Page, str]]:
    """A browser, and the address of a session of 12 pairs without a name."""
    for results, name in zip(two(12), ("new", "old"), strict=True):
        results.save(tmp_path / name)
    with browser() as page, serving(tmp_path, "new", "old", "--session", "s", "--pairs", 12) as server:
        yield page, server.address


def test_a_name_that_is_none_leads_back_to_the_form_with_the_reason(opened: tuple[Page, str]) -> None:
    page, address = opened
    page.open(address)
    page.press("<b>ann", ENTER)
    page.wait("return document.getElementById('error').textContent.includes('cannot be called')")
    assert page.state() == "enter"
    page.driver.execute_script("document.getElementById('name').value = ''")
    page.press("ann", ENTER)
    page.wait("return document.body.dataset.state === 'work'")
    assert page.read()["error"] == ""


def test_mouse_input_method_and_back_neither_save_too_early_nor_lose_what_was_begun(opened: tuple[Page, str]) -> None:
    page, address = opened
    page.open(f"{address}?annotator=ann")
    page.wait(PLACE.format(0))
    for row in page.driver.find_elements("css selector", "#questions .question"):
        row.find_element("css selector", "button[data-value=left]").click()
    page.press(ENTER)  # after the mouse it saves, and does not press the last button again
    page.leave(0)
    page.press("1", "2", "3", "0", "m")
    page.driver.execute_script(TYPED)
    page.press("b", "\ue00c")  # still in the comment: Enter ended a word there
    assert page.read()["place"] == 1
    page.press("b")
    page.wait(PLACE.format(0))
    assert page.read()["chosen"] == ["left"] * 4
    page.press(ENTER)
    page.leave(0)
    page.wait(PLACE.format(1))
    assert page.read()["chosen"] == ["left", "right", "tie", "none"], "what was begun and not saved stands there"
    assert page.driver.execute_script("return document.getElementById('comment').value") == "にb"
    page.press(ENTER)
    page.leave(1)
    assert page.read()["chosen"] == []
