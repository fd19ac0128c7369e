"""The figures in a text: numbers however they are written, and the dates and identifiers that hold digits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

Figure = Fraction | str
"""The absolute value of a number, or, for a date or identifier, its text in lower case."""

_TOKEN = re.compile(r"\w[\w.,'/:-]*%?")
_SPACED = re.compile(r"(?<![\w.,])\d{1,3}(?:[\s'_]\d{3})+(?![\w'])")
_CURRENCY = r"(?:[A-Z]{3}|[€$£¥])"
_NUMBER = re.compile(
    rf"{_CURRENCY}?(\d{{1,3}}(?:,\d{{3}}){{1,15}}|\d{{1,50}})(\.\d{{1,50}})?(?:[eE]([+-]?\d{{1,2}}))?(k|K|m|M|mn|bn|%)?{_CURRENCY}?"
)
_ZEROS = {"k": 3, "K": 3, "m": 6, "M": 6, "mn": 6, "bn": 9}
_WORD_ZEROS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9}
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_SMALL)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}


def figures(text: str) -> frozenset[Figure]:
    """Every figure of ``text``: ``1,200``, ``1.2k``, ``EUR1200`` and ``twelve hundred`` are all 1200.

    A sign is dropped ("short by 500" is −500). "one" alone is a word. A date or identifier (``2025-09-30``,
    ``acc-1234``, ``Q3``) is one figure, not the numbers in it.
    """
    plain = unicodedata.normalize("NFKC", text)
    plain = _SPACED.sub(lambda found: re.sub(r"\D", "", found[0]), plain)
    tokens = [token.rstrip(".,'/:-").removesuffix("'s") for token in _TOKEN.findall(plain)]
    return frozenset([*_written(tokens), *_spoken(plain)])


def figures_of(value: Any) -> frozenset[Figure]:
    """The figures of a JSON value's leaves; the names of its members do not count."""
    if isinstance(value, Mapping):
        return frozenset().union(*map(figures_of, value.values()))
    if isinstance(value, list | tuple):
        return frozenset().union(*map(figures_of, value))
    if isinstance(value, bool) or value is None:
        return frozenset()
    return frozenset({abs(Fraction(str(value)))}) if isinstance(value, int | float) else figures(str(value))


def _written(tokens: list[str]) -> Iterator[Figure]:
    for token, following in zip(tokens, [*tokens[1:], ""]):
        if not any(character.isdigit() for character in token):
            continue
        found = _NUMBER.fullmatch(token)
        if found is None:
            yield token.lower()
            continue
        whole, decimals, exponent, suffix = found.groups()
        number = Fraction(whole.replace(",", "") + (decimals or "")) * Fraction(10) ** int(exponent or 0)
        yield number * 10 ** _ZEROS.get(suffix or "", _WORD_ZEROS.get(following.lower(), 0))


def _spoken(text: str) -> Iterator[Figure]:
    """Numbers in words; "two and three" are two, "two hundred and three" is one."""
    run: list[str] = []
    before = ""
    for word in [*re.findall(r"\w+", text.lower()), ""]:
        if word in _WORD_ZEROS and before == "a":
            run = ["one"]
        if word == "and" and before in _WORD_ZEROS:
            continue
        if (word not in _WORDS and (word not in _WORD_ZEROS or not run)) or not _goes_on(run, word):
            if run and run != ["one"]:
                yield Fraction(_value(run))
            run = []
        if word in _WORDS or (word in _WORD_ZEROS and run):
            run.append(word)
        before = word


def _goes_on(run: list[str], word: str) -> bool:
    """Whether the word belongs to the number before it: "twenty" takes "three" but no "thirty"."""
    if not run or word in _WORD_ZEROS or run[-1] in _WORD_ZEROS:
        return True
    return run[-1] in _TENS and 0 < _WORDS.get(word, 0) < 10


def _value(run: list[str]) -> int:
    total = part = 0
    for word in run:
        if word in _WORDS:
            part += _WORDS[word]
        elif word == "hundred":
            part *= 100
        elif word in _WORD_ZEROS:
            total, part = total + part * 10 ** _WORD_ZEROS[word], 0
    return total + part
