"""Copies of short texts found in many others: marked cheaply by a few words in a row, confirmed by what they share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

NUM_WORDS = 8
"""Words in a row that mark a candidate; a text with fewer is not searched for."""
MAX_SHARERS = 2
"""A run of words that more of the searched texts have is their common form, and marks nothing."""
MIN_COVERED = 0.8
"""Of a text's words, the share that must stand in runs which the row has too."""
MIN_SHARED = 0.9
"""Of the words that set a text apart, the share that the row must have."""
MIN_OWN_WORDS = 20
"""Shorter questions, and forms with few blanks, differ from another question by a word: they are found whole only."""
COMMON = 0.5
"""A word that half of the texts have sets none apart."""
_WORD = re.compile(r"\w+(?:[.,]\w+)*|[^\w\s]")

Words = tuple[str, ...]


class SpanIndex:
    """Short texts (a suite's questions) that can be found in long ones (training rows).

    A row is a candidate for a text if it has one of the runs of eight words that only this text (or one more) has. It
    is confirmed if runs of eight words cover 80 % of the text, and if the row has 90 % of the words that set the text
    apart, which fewer than half of the texts have. With fewer than twenty such words (a puzzle, a template filled with
    names) one word makes another question, and only a whole copy counts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [tuple(_WORD.findall(text)) for text in texts]
        self._texts = list(texts)
        frequency = Counter(word for words in self._words for word in set(words))
        common = {word for word, count in frequency.items() if count > 1 and count >= COMMON * len(texts)}
        self._own = [Counter(word for word in words if word not in common) for words in self._words]
        sharers: dict[Words, list[int]] = {}
        for number, words in enumerate(self._words):
            for run in set(_runs(words)):
                sharers.setdefault(run, []).append(number)
        self._markers = {run: numbers for run, numbers in sharers.items() if len(numbers) <= MAX_SHARERS}
        # A question that stands many times has no run of its own: its first one marks it.
        for number, words in enumerate(self._words):
            if len(words) >= NUM_WORDS and not any(run in self._markers for run in _runs(words)):
                self._markers.setdefault(words[:NUM_WORDS], []).append(number)

    def found_in(self, texts: Sequence[str]) -> Iterator[tuple[int, float, bool]]:
        """The numbers of the texts that stand in one of ``texts``, the share found, and whether it is there whole."""
        for text in texts:
            words = tuple(_WORD.findall(text))
            runs = set(_runs(words))
            marked = {number for run in runs & self._markers.keys() for number in self._markers[run]}
            for number in sorted(marked):
                is_whole = self._texts[number] in text
                shared = 1.0 if is_whole else self._shared(number, words)
                if shared >= MIN_SHARED and (is_whole or self._covered(number, runs) >= MIN_COVERED):
                    yield number, shared, is_whole

    def _shared(self, number: int, words: Words) -> float:
        own = self._own[number]
        return (own & Counter(words)).total() / own.total() if own.total() >= MIN_OWN_WORDS else 0.0

    def _covered(self, number: int, runs: set[Words]) -> float:
        words = self._words[number]
        starts = [start for start, run in enumerate(_runs(words)) if run in runs]
        return len({place for start in starts for place in range(start, start + NUM_WORDS)}) / len(words)


def _runs(words: Words) -> Iterator[Words]:
    return (words[start : start + NUM_WORDS] for start in range(len(words) - NUM_WORDS + 1))
