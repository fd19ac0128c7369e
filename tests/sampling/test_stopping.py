"""Stop texts and growing text, by hand and against looking at the whole text."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from strop.sampling.stopping import GrowingText, find_stop, num_held


def test_the_earliest_stop_wins_whichever_is_named_first() -> None:
    assert find_stop("ab END cd STOP", ("STOP", "END")) == 3
    assert find_stop("abab", ("ab",), 1) == 2
    assert find_stop("nothing", ("x", "y")) == -1
    assert find_stop("nothing", ()) == -1


def test_an_end_that_could_become_a_stop_is_held_back_and_no_more() -> None:
    assert num_held("hello ST", ("STOP",)) == 2
    assert num_held("hello STO", ("STOP", "Oslo")) == 3
    assert num_held("aab", ("aabaac",)) == 3
    assert num_held("aaba", ("ab",)) == 1
    assert num_held("hello", ("STOP",)) == 0
    assert num_held("STOP", ("STOP",)) == 0  # a whole one is found, not held
    assert num_held("S", ()) == 0


def decode(token_ids: Sequence[int]) -> str:
    """Tokens are bytes."""
    return bytes(token_ids).decode(errors="replace")


def test_a_stop_is_found_across_tokens_and_what_follows_is_not_told() -> None:
    growing = GrowingText(decode, ("END",))
    told = []
    ids = list(b"abENDcd")
    for t in range(len(ids)):
        growing.update(ids[: t + 1])
        told.append(growing.take())
        if growing.stopped:
            break
    assert told == ["a", "b", "", "", ""]
    assert growing.text == "ab"


def test_a_stop_whose_token_begins_another_character_is_found_with_it() -> None:
    tokens = (b"ab", b"EN", b"D\xe2", b"\x82\xac")

    def joined(token_ids: Sequence[int]) -> str:
        return b"".join(tokens[token] for token in token_ids).decode(errors="replace")

    growing = GrowingText(joined, ("END",))
    for t in (1, 2, 3):
        assert not growing.stopped
        growing.update(range(t))
    assert growing.stopped
    growing.close(joined(range(3)))
    assert growing.take(final=True) == growing.text == "ab"


def test_what_was_held_back_is_told_when_no_stop_came_of_it() -> None:
    growing = GrowingText(decode, ("END",))
    for t in range(1, 5):
        growing.update(list(b"abEN")[:t])
    assert growing.take() == "ab"
    growing.close("abEN")
    assert growing.take(final=True) == "EN"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.text(alphabet="ab€🙂S", max_size=12),
    st.lists(st.text(alphabet="ab€S", min_size=1, max_size=3), max_size=3),
    st.data(),
)
def test_any_cutting_into_tokens_tells_the_text_up_to_the_first_stop(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    ids = list(text.encode())
    growing = GrowingText(decode, stops)
    told, at = "", 0
    while at < len(ids) and not growing.stopped:
        at = min(len(ids), at + data.draw(st.integers(1, 3)))
        growing.update(ids[:at])
        told += growing.take()
    growing.close(decode(ids[:at]))
    told += growing.take(final=True)
    place = find_stop(text, stops)
    assert growing.stopped == (place >= 0)
    assert told == growing.text == (text if place < 0 else text[:place])
