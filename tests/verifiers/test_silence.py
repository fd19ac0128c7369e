"""A text that shows its reader nothing is no answer to anything."""

import pytest

from strop.types import Completion, Message, Task
from strop.verifiers.named import VERIFIERS
from strop.verifiers.text import says_something

SILENT = ("", "  \n", ".", "\u200b", "\u2060\ufeff", "…", "\u3164", "```\n```", "\u00ad\u200d")
DUE: dict[str, dict[str, object]] = {
    "boundary": {"boundary": "answerable"},
    "refusal": {"boundary": "answerable"},
    "grounded": {"answerable": False},
    "tool_call": {"call": None},
}


@pytest.mark.parametrize("text", SILENT)
@pytest.mark.parametrize("name", DUE)
def test_silence_passes_for_no_answer(name: str, text: str) -> None:
    task = Task(id="t", prompt=(Message(role="user", content="Hello?"),), reference=DUE[name])
    assert VERIFIERS[name]()(task, _said("Hello, how are you?")).passed
    assert not VERIFIERS[name]()(task, _said(text)).passed


def _said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


@pytest.mark.parametrize("text", ["[d1]", "[d1].", "[d1]\n[d2]", "\u200b [d1]."])
def test_a_citation_alone_is_no_grounded_answer(text: str) -> None:
    shown = "[d1] ACME spent 1200 in Q3.\n[d2] ACME is in Bern.\nWhat did ACME spend?"
    task = Task(id="t", prompt=(Message(role="user", content=shown),))
    judge = VERIFIERS["grounded"]()
    assert judge(task, _said("ACME spent 1200 [d1].")).passed
    assert not judge(task, _said(text)).passed


def test_letters_and_digits_of_any_script_say_something() -> None:
    assert all(map(says_something, ("a", "7", "ß", "да", "是", "١", "- x")))
    assert not any(map(says_something, SILENT))
