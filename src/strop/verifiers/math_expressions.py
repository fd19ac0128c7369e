"""A written expression, LaTeX or plain, becomes an exact value."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from strop.verifiers.math_algebra import Exact, MalformedError, UndecidedError, number, power, root, symbol

_MAX_LENGTH = 2000
_MAX_DEPTH = 60
_MAX_FACTORIAL = 200
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d*)?(?:[eE][-+]?\d{1,4}(?![\w.]))?|\.\d+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+)|(?P<mark>\*\*|[-+*/^_!(){}\[\]|]))"
)
_CLOSING = {"(": ")", "{": "}", "[": "]"}
_FOREIGN = frozenset('?@#";')
"""Signs of no formula."""
_FUNCTION = re.compile(r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|log|ln|lg|exp|max|min|gcd|lcm|mod|floor|ceil|det")
_PROSE = frozenset(("not", "and", "or", "if", "is", "the", "for", "all", "any", "no", "to", "of", "in"))
_TIMES = ("*", "\\times", "\\cdot", "\\ast")
_DIVIDED = ("/", "\\div")
_GREEK = re.compile(
    r"\\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|varphi|omega|xi|eta|zeta)"
)
_LONGEST_PRODUCT = 3
"""A longer run of letters is a word, not a product of variables."""


def evaluate(text: str) -> Exact:
    r"""The exact value of an expression of numbers, variables, ``+ - * / ^ !``, fractions and roots.

    Understands ``\frac{1}{2}``, ``\sqrt{2}``, ``\sqrt[3]{8}``, ``\binom{5}{2}``, ``|x|`` of numbers, ``2\pi``, ``x_1``,
    ``1.5e3``, ``1,234`` and products without a sign; ``i`` is the imaginary unit. Raises: UndecidedError for anything
    else.
    """
    if len(text) > _MAX_LENGTH:
        raise UndecidedError("too long")
    reader = _Reader(_tokens(text))
    try:
        value = reader.expression()
    except RecursionError as error:
        raise UndecidedError("too deep") from error
    if reader.next:
        raise UndecidedError(f"cannot read `{reader.next}`")
    return value


def _tokens(text: str) -> list[str]:
    tokens, place, text = [], 0, text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            error = MalformedError if set(text[place:]) & _FOREIGN else UndecidedError
            raise error(f"cannot read `{text[place]}`")
        word = match["word"]
        if word in (None, "pi", "sqrt"):
            tokens.append({"pi": "\\pi", "sqrt": "\\sqrt"}.get(word or "", match[0].strip()))
        elif _FUNCTION.fullmatch(word):
            raise UndecidedError(f"cannot read `{word}`")
        elif len(word) > _LONGEST_PRODUCT or word in _PROSE:
            raise MalformedError(f"cannot read `{word}`")
        else:
            tokens += word
        place = match.end()
    return tokens


class _Reader:
    """Recursive descent over tokens, one method a level of precedence."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._place, self._depth = tokens, 0, 0

    @property
    def next(self) -> str:
        """The token that is read next; empty at the end."""
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def expression(self) -> Exact:
        """A sum."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UndecidedError("too deep")
        value = self._product()
        while self.next in ("+", "-"):
            sign = self._take()
            value = value + self._product() if sign == "+" else value - self._product()
        self._depth -= 1
        return value

    def _take(self, expected: str = "") -> str:
        token = self.next
        if not token or (expected and token != expected):
            raise UndecidedError(f"`{token}` where {expected or 'more'} is needed")
        self._place += 1
        return token

    def _product(self) -> Exact:
        value = self._signed()
        while True:
            if self.next in _TIMES:
                self._take()
                value = value * self._signed()
            elif self.next in _DIVIDED:
                self._take()
                value = value / self._signed()
            elif self._starts_a_factor():
                value = value * self._power()
            else:
                return value

    def _starts_a_factor(self) -> bool:
        token = self.next
        if token[:1].isdigit() or token[:1] == ".":
            return self._tokens[self._place - 1] in (")", "}", "]")  # "2 3" is no product
        return token[:1].isalpha() or token in ("(", "{", "[") or (token[:1] == "\\" and token not in _DIVIDED)

    def _signed(self) -> Exact:
        negative = False
        while self.next in ("+", "-"):
            negative ^= self._take() == "-"
        value = self._power()
        return -value if negative else value

    def _power(self) -> Exact:
        value = self._atom()
        while self.next in ("^", "**", "!"):
            if self._take() == "!":
                value = number(math.factorial(_small(value, _MAX_FACTORIAL)))
            else:
                value = power(value, self._signed())  # right-associative: _signed reads a further power itself
        return value

    def _atom(self) -> Exact:
        token = self._take()
        if token[0].isdigit() or token[0] == ".":
            return number(Fraction(token.replace(",", "").rstrip(".") or "0"))
        if token in _CLOSING:
            value = self.expression()
            self._take(_CLOSING[token])
            return value
        if token == "|":
            inside = self.expression().rational
            self._take("|")
            if inside is None:
                raise UndecidedError("the absolute value of more than a number")
            return number(abs(inside))
        if token == "i":
            return root(number(-1), 2)
        if len(token) == 1 and token.isalpha():
            return symbol(token + self._index())
        return self._command(token)

    def _command(self, token: str) -> Exact:
        if token == "\\pi":
            return symbol("\\pi")
        if _GREEK.fullmatch(token):
            return symbol(token + self._index())
        if token == "\\sqrt":
            degree = 2
            if self.next == "[":
                degree = _small(self._group(), 50)
            return root(self._group(), degree)
        if token == "\\frac":
            return self._group() / self._group()
        if token == "\\binom":
            top, bottom = _small(self._group(), 1000), _small(self._group(), 1000)
            return number(math.comb(top, bottom))
        raise UndecidedError(f"cannot read `{token}`")

    def _group(self) -> Exact:
        """What stands in brackets, or a single token: ``\\sqrt2`` and ``\\frac12`` take one digit each."""
        token = self.next
        if token in _CLOSING or not token.isdigit():
            return self._atom()
        self._take()
        if len(token) > 1:
            self._place -= 1
            self._tokens[self._place : self._place + 1] = [token[1:]]
        return number(int(token[0]))

    def _index(self) -> str:
        if self.next != "_":
            return ""
        self._take()
        if self.next != "{":
            return "_" + self._take()
        inside = []
        self._take("{")
        while self.next != "}":
            inside.append(self._take())
        self._take("}")
        return "_" + "".join(inside)


def _small(value: Exact, most: int) -> int:
    found = value.rational
    if found is None or found.denominator != 1 or not 0 <= found <= most:
        raise UndecidedError("no small whole number")
    return int(found)
