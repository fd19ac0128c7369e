"""What JSON grammars let through and JSON readers trip over: names that stand twice or in disguise, infinite numbers.

A guard follows the bytes of one text. It is immutable: ``after`` returns the next one, so going back costs nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

MAX_DIGITS = 300
"""Of a number without exponent; with one, 200 and two digits of exponent: always below 1e308."""
_MAX_MANTISSA = 200
_NEUTRAL, _STRING, _STRING_ESCAPE, _NAME, _NAME_ESCAPE, _NUMBER, _NAME_HEX = range(7)
_NAME_ESCAPES = frozenset(
    {f"{code:04x}".encode() for code in (*range(0x20), 0x7F)} - {b"0008", b"0009", b"000a", b"000c", b"000d"}
)
"""Names escape nothing that can be written otherwise: the grammar would not know a listed name so spelt."""
_ESCAPE_BEGINNINGS = frozenset(code[:length] for code in _NAME_ESCAPES for length in range(5))
_STRING_EVENT = re.compile(rb'["\\\\]')
_LOUD_NUMBER = re.compile(rb"[eE][+-]?[0-9]{3}|[0-9]{100}")


@dataclass(frozen=True)
class Guard:
    """Where a JSON text stands: inside what, and the names that each open object has so far."""

    mode: int = _NEUTRAL
    frames: tuple[frozenset[str] | None, ...] = ()
    """One an open bracket: the names of an object, None for an array."""
    expects_name: bool = False
    name: bytes = b""
    num_digits: int = 0
    num_exponent_digits: int = -1
    """-1 before the exponent."""

    @property
    def in_text(self) -> bool:
        """Whether the text stands inside a string that is a value, not after a backslash."""
        return self.mode == _STRING

    @property
    def in_name(self) -> bool:
        """Whether it stands inside a name."""
        return self.mode in (_NAME, _NAME_ESCAPE, _NAME_HEX)

    @property
    def is_inside(self) -> bool:
        """Whether it stands inside any string."""
        return self.in_name or self.mode in (_STRING, _STRING_ESCAPE)

    @property
    def in_name_escape(self) -> bool:
        """Whether it stands after a backslash in a name."""
        return self.mode in (_NAME_ESCAPE, _NAME_HEX)

    @property
    def has_names(self) -> bool:
        """Whether a name could stand twice."""
        return any(self.frames)

    @property
    def in_risky_number(self) -> bool:
        """Whether a few more digits could exceed a double."""
        return self.mode == _NUMBER and (self.num_exponent_digits >= 0 or self.num_digits > _MAX_MANTISSA // 2)

    @property
    def suspicion(self) -> int:
        """Which tokens must be looked at here: a row of ``Suspects.table``."""
        if self.in_risky_number or self.in_name_escape:
            return 0
        place = 1 if self.in_name else 2 if self.in_text else 3
        return place if self.has_names else place + 3

    def after(self, text: bytes) -> Guard | None:
        """The guard after ``text``, None where it may not stand."""
        if self.mode == _STRING and b'"' not in text and b"\\" not in text:
            return self
        guard, place = self, 0
        while place < len(text):
            if guard.mode in (_STRING, _NAME):
                stop = match.start() if (match := _STRING_EVENT.search(text, place)) else len(text)
                if stop > place and guard.mode == _NAME:
                    guard = Guard(_NAME, guard.frames, name=guard.name + text[place:stop])
                place = stop
                if place == len(text):
                    break
            following = guard._step(text[place : place + 1])
            if following is None:
                return None
            guard, place = following, place + 1
        return guard

    def _step(self, byte: bytes) -> Guard | None:
        match self.mode:
            case 1:
                return (
                    replace(self, mode=_STRING_ESCAPE) if byte == b"\\" else self if byte != b'"' else self._neutral()
                )
            case 2:
                return replace(self, mode=_STRING)
            case 3:
                if byte == b'"':
                    return self._named()
                return replace(self, mode=_NAME_ESCAPE if byte == b"\\" else _NAME, name=self.name + byte)
            case 4:
                return replace(self, mode=_NAME_HEX if byte == b"u" else _NAME, name=self.name + byte)
            case 6:
                return self._in_name_hex(byte)
            case 5 if byte in b"0123456789.eE+-":
                return self._in_number(byte)
        return self._outside(byte)

    def _neutral(self) -> Guard:
        return Guard(frames=self.frames)

    def _named(self) -> Guard | None:
        try:
            name = json.loads(b'"' + self.name + b'"')
        except ValueError:
            return None
        names = self.frames[-1] if self.frames else None
        if names is None:
            return self._neutral()
        return None if name in names else Guard(frames=(*self.frames[:-1], names | {name}))

    def _in_name_hex(self, byte: bytes) -> Guard | None:
        name = self.name + byte
        code = name[name.rindex(b"u") + 1 :]
        if code not in _ESCAPE_BEGINNINGS:
            return None
        return replace(self, mode=_NAME if len(code) == 4 else _NAME_HEX, name=name)

    def _in_number(self, byte: bytes) -> Guard | None:
        if byte in b"eE":
            return None if self.num_digits > _MAX_MANTISSA else replace(self, num_exponent_digits=0)
        if not byte.isdigit():
            return self
        if self.num_exponent_digits >= 0:
            return (
                None
                if self.num_exponent_digits == 2
                else replace(self, num_exponent_digits=self.num_exponent_digits + 1)
            )
        return None if self.num_digits == MAX_DIGITS else replace(self, num_digits=self.num_digits + 1)

    def _outside(self, byte: bytes) -> Guard | None:
        frames = self.frames
        match byte:
            case b'"':
                return Guard(mode=_NAME if self.expects_name else _STRING, frames=frames)
            case b"{":
                return Guard(frames=(*frames, frozenset()), expects_name=True)
            case b"[":
                return Guard(frames=(*frames, None))
            case b"}" | b"]":
                return Guard(frames=frames[:-1])
            case b",":
                return Guard(frames=frames, expects_name=bool(frames) and frames[-1] is not None)
        if byte in b"-0123456789":
            return Guard(mode=_NUMBER, frames=frames, num_digits=int(byte != b"-"))
        return self if self.mode == _NEUTRAL else Guard(frames=frames)


def is_loud_number(text: bytes) -> bool:
    """Whether a token could exceed a double all by itself."""
    return _LOUD_NUMBER.search(text) is not None
