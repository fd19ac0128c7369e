"""The formats that strings can be held to: one regular expression each, the same for grammar and validator.

Written in the part of the syntax that Python's ``re`` and Rust's ``regex`` read alike, always anchored. ``format`` is
an assertion here, as structured output is asked for to be used; a format that is not in this table and not one of JSON
Schema's asserts nothing, as the standard says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

_HOUR, _SIXTY = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
_OFFSET = f"(?:[Zz]|[+-]{_HOUR}:{_SIXTY})"
_DATE = (
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
)
_HEX, _LOCAL = "[0-9A-Fa-f]", "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_POINTER = "(?:/(?:[^/~]|~[01])*)*"


def _leap_second() -> str:
    """``23:59:60`` in UTC, in local time with any offset: every local minute has one positive and one negative."""
    hours = []
    for hour in range(24):
        minutes = []
        for minute in range(60):
            ahead, behind = (60 * hour + minute + 1) % 1440, (1439 - 60 * hour - minute) % 1440
            signs = [rf"\+{ahead // 60:02}:{ahead % 60:02}", f"-{behind // 60:02}:{behind % 60:02}"]
            if (hour, minute) == (23, 59):
                signs.append("[Zz]")
            minutes.append(rf"{minute:02}:60(?:\.[0-9]+)?(?:{'|'.join(signs)})")
        hours.append(f"{hour:02}:(?:{'|'.join(minutes)})")
    return "|".join(hours)


def _time() -> str:
    return rf"(?:{_HOUR}:{_SIXTY}:{_SIXTY}(?:\.[0-9]+)?{_OFFSET}|{_leap_second()})"


def _ipv6() -> str:
    group = f"{_HEX}{{1,4}}"
    last = f"(?:{group}:{group}|{_IPV4})"
    forms = [f"(?:{group}:){{6}}{last}"]
    for before in range(8):
        head = f"(?:{group}(?::{group}){{0,{before - 1}}})?" if before else ""
        after = 7 - before
        if before and head:
            head = f"{group}(?::{group}){{{before - 1}}}"
        tails = [f"{group}(?::{group}){{0,{after - 1}}}"] if after else []
        if after >= 2:
            tails.append(f"(?:{group}:){{0,{after - 2}}}{_IPV4}")
        tail = f"(?:{'|'.join(tails)})?" if tails else ""
        forms.append(f"{head}::{tail}")
    return "(?:" + "|".join(forms) + ")"


def _uri(*, relative: bool) -> str:
    escaped, letters = f"%{_HEX}{{2}}", "A-Za-z0-9._~!$&'()*+,;="
    part = f"(?:[{letters}:@-]|{escaped})"
    host = rf"(?:\[(?:{_ipv6()}|[vV]{_HEX}+\.[{letters}:-]+)\]|(?:[{letters}-]|{escaped})*)"
    authority = f"(?:(?:[{letters}:-]|{escaped})*@)?{host}(?::[0-9]*)?"
    path = f"(?://{authority}(?:/{part}*)*|/(?:{part}+(?:/{part}*)*)?|{part}+(?:/{part}*)*)?"
    tail = rf"(?:\?(?:{part}|[/?])*)?(?:#(?:{part}|[/?])*)?"
    if not relative:
        return f"[A-Za-z][A-Za-z0-9+.-]*:{path}{tail}"
    first = f"(?:[{letters}@-]|{escaped})"  # without a colon, else it would be a scheme
    plain = f"(?://{authority}(?:/{part}*)*|/(?:{part}+(?:/{part}*)*)?|{first}+(?:/{part}*)*)?"
    return f"(?:[A-Za-z][A-Za-z0-9+.-]*:{path}|{plain}){tail}"


def _duration() -> str:
    time = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
    date = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
    return f"P(?:{date}(?:{time})?|{time}|[0-9]+W)"


def _email() -> str:
    quoted = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
    literal = rf"\[(?:{_IPV4}|IPv6:{_ipv6()})\]"
    return rf"(?:{_LOCAL}(?:\.{_LOCAL})*|{quoted})@(?:{_LABEL}(?:\.{_LABEL})*|{literal})"


_EXACT: dict[str, Callable[[], str]] = {
    "date": lambda: _DATE,
    "time": _time,
    "date-time": lambda: f"{_DATE}[Tt]{_time()}",
    "duration": _duration,
    "email": _email,
    "ipv4": lambda: _IPV4,
    "ipv6": _ipv6,
    "uuid": lambda: f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
    "uri": lambda: _uri(relative=False),
    "uri-reference": lambda: _uri(relative=True),
    "json-pointer": lambda: _POINTER,
    "relative-json-pointer": lambda: f"(?:0|[1-9][0-9]*)(?:#|{_POINTER})",
}
INEXACT = frozenset({"hostname", "idn-email", "idn-hostname", "iri", "iri-reference", "uri-template", "regex"})
"""Formats of the standard that no regular expression of a useful size decides; they are checked afterwards."""


@cache
def pattern_of(name: str) -> str | None:
    """The anchored regular expression of a format, None where there is none."""
    return f"^(?:{_EXACT[name]()})$" if name in _EXACT else None


@cache
def _compiled(name: str) -> re.Pattern[str]:
    assert name in _EXACT
    return re.compile(_EXACT[name](), re.DOTALL)


def conforms(name: str, text: str) -> bool:
    """Whether ``text`` is of the format; True for formats that assert nothing here."""
    if name in _EXACT:
        return _compiled(name).fullmatch(text) is not None
    if name == "hostname":
        return len(text) <= 253 and re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", text) is not None
    if name == "regex":
        try:
            re.compile(text)
        except re.error:
            return False
    return True
