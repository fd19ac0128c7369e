"""Text as it grows: deltas that never split a character, and stop texts found across token boundaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def find_stop(text: str, stops: Sequence[str], start: int = 0) -> int:
    """Where the earliest stop text begins in ``text`` at or after ``start``; -1 if there is none."""
    found = [place for place in (text.find(stop, start) for stop in stops) if place >= 0]
    return min(found, default=-1)


def num_held(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of ``text`` may be the beginning of a stop text; the longest such end."""
    longest = min(max(map(len, stops), default=1) - 1, len(text))
    for length in range(longest, 0, -1):
        end = text[-length:]
        if any(stop.startswith(end) for stop in stops):
            return length
    return 0


class GrowingText:
    """The text of a completion while its tokens arrive.

    A character is known once all its bytes are: the last tokens are decoded again, together with those before them,
    until they end in whole characters, so that a tokenizer may join tokens as it likes.
    """

    def __init__(self, decode: Decode, stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = tuple(stops)
        self._reach = max(map(len, self._stops), default=0)
        self.text = ""
        """What is known so far, up to and without the stop text."""
        self.stopped = False
        """Whether a stop text was found."""
        self._given = 0
        self._first = 0
        self._read = 0

    def update(self, token_ids: Sequence[int]) -> None:
        """Take in the completion so far, of which earlier calls saw a beginning."""
        before = self._decode(token_ids[self._first : self._read])
        now = self._decode(token_ids[self._first :])
        if len(now) > len(before) and not now.endswith(_UNFINISHED):
            self._first, self._read = self._read, len(token_ids)
            self._append(now[len(before) :])
        elif self._stops:
            # A token may end a stop text and begin a character: the text stops here, whatever becomes of that.
            self._stop_in(self.text + now.rstrip(_UNFINISHED)[len(before) :])

    def close(self, text: str) -> None:
        """The completion is over and decodes to ``text`` as a whole: what was held back is known now."""
        if not self.stopped and text.startswith(self.text):
            self._append(text[len(self.text) :])

    def _append(self, delta: str) -> None:
        text = self.text + delta
        if not self._stop_in(text):
            self.text = text

    def _stop_in(self, text: str) -> bool:
        """Whether ``text``, which ``self.text`` begins, has a stop text; then it ends before it."""
        place = find_stop(text, self._stops, max(0, len(self.text) - self._reach + 1))
        if place >= 0:
            self.text, self.stopped = text[:place], True
        return self.stopped

    def take(self, *, final: bool = False) -> str:
        """What is new since the last call, without an end that could become a stop text unless ``final``."""
        held = 0 if final or self.stopped else num_held(self.text, self._stops)
        end = max(self._given, len(self.text) - held)
        delta, self._given = self.text[self._given : end], end
        return delta
