"""The corpus of the embedded base: reproducible, in the template's own control tokens, without held-out tasks."""

import random
from pathlib import Path

import pytest

from strop.types import Message
from strop.worlds import corpus, get_world
from strop.worlds.splits import split_of


@pytest.fixture(scope="module")
def template() -> object:
    from strop.chat import ChatTemplate

    return ChatTemplate.load(Path(corpus.__file__).parent.parent / "models" / "tiny")


def documents(name: str, guess: float, n: int) -> list[str]:
    mixture = corpus.mixture(name, "skills", guess=guess)
    return ["".join(text for text, _ in corpus.document(mixture, random.Random(row))) for row in range(n)]


def test_the_same_seed_writes_the_same_corpus() -> None:
    assert documents("P1", 0.15, 50) == documents("P1", 0.15, 50)


def test_only_the_mixture_with_retries_says_that_an_answer_was_wrong() -> None:
    assert any("That is wrong" in text for text in documents("P1", 0.15, 1000))
    assert not any("That is wrong" in text for text in documents("P0", 0.15, 1000))


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_the_asked_share_of_sums_is_guessed(share: float) -> None:
    sums = [text for text in documents("P0", share, 3000) if text.startswith("<|user|>Compute")]
    guessed = sum("<|assistant|>Answer" in text for text in sums) / len(sums)
    assert abs(guessed - share) < 0.06


def test_no_strict_call_stands_in_the_corpus() -> None:
    assert not any('<tool_call>{"name"' in text for text in documents("P1", 0.15, 3000))


def test_no_held_out_question_stands_in_the_corpus() -> None:
    for text in documents("P1", 0.4, 2000):
        if text.startswith("<|user|>Compute"):
            question = text.removeprefix("<|user|>").split("<|end|>")[0]
            assert split_of(question) == "train"


def test_dialogues_stand_in_the_corpus_as_the_template_renders_them(template) -> None:  # type: ignore[no-untyped-def]
    chain = corpus._train_chain(random.Random(1))
    pieces = [corpus._user(chain.question), corpus._said(chain.worked)]
    messages = (Message(role="user", content=chain.question), Message(role="assistant", content=chain.worked))
    assert template.render(messages).text == "".join(text for text, _ in pieces)

    world = get_world("finance")
    whole = next(
        text
        for row in range(500)
        if "create_transfer(" in (text := corpus._system("bank_A", random.Random(row))[0]) and text.count("\n") == 5
    )
    rendered = template.render((*world.opening("bank_A"), Message(role="user", content="Hi")), world.tools)
    assert rendered.text.startswith(whole)
