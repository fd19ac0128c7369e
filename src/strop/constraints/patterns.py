"""Regular expressions of ECMA-262, which JSON Schema means, for the two engines that read them: Rust's and Python's."""

from __future__ import annotations

import re
from functools import lru_cache

from strop.errors import ConstraintError

_SPACE = r"\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": _SPACE}


def portable_pattern(pattern: str, *, end: str = "$") -> str:
    """The pattern with ECMA-262's classes spelt out, so that Rust and Python read it alike; ``$`` becomes ``end``."""
    out: list[str] = []
    place, in_class = 0, False
    while place < len(pattern):
        letter, pair = pattern[place], pattern[place : place + 2]
        if letter == "\\" and len(pair) == 2:
            place += 2
            members = _CLASSES.get(pair[1].lower())
            if members and pair[1].islower():
                out.append(members if in_class else f"[{members}]")
            elif members and not in_class:
                out.append(f"[^{members}]")
            else:
                out.append("/" if pair == "\\/" else pair)
            continue
        if in_class:
            in_class = letter != "]"
            out.append("\\[" if letter == "[" else letter)
        else:
            in_class = letter == "["
            out.append(end if letter == "$" else letter)
        place += 1
    return "".join(out)


@lru_cache(maxsize=4096)
def python_pattern(pattern: str) -> re.Pattern[str]:
    """The ECMA-262 pattern for Python's ``re``. Raises: ConstraintError where ``re`` cannot read it."""
    try:
        return re.compile(portable_pattern(pattern, end=r"\Z"))
    except (re.error, OverflowError, RecursionError) as error:
        raise ConstraintError(
            f"the pattern {pattern[:80]!r} cannot be read",
            why=str(error),
            do="use a pattern without Unicode properties, back references and lookaround",
        ) from error


def listed_names(pattern: str) -> list[str] | None:
    """The names that ``^name$`` or ``^(one|two)$`` lists; None for every other pattern."""
    found = re.fullmatch(r"\^(?:\((?:\?:)?([\w|-]+)\)|([\w-]+))\$", pattern)
    return (found.group(1) or found.group(2)).split("|") if found else None


def has_few_names(pattern: str) -> bool:
    """Whether the pattern matches finitely many names by its form: anchored, and nothing repeated."""
    return pattern.startswith("^") and pattern.endswith("$") and not set(pattern) & set("*+{.|")
