"""``math-verify`` in its worker process: started by ``mathematics`` through ``processes``, never imported by it.

It is only ever run here, because SymPy may think forever or grow without end over ``9**9**9``, and its own deadlines
use signals, which do nothing outside a main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from math_verify import parse, verify

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
_DELIMITERS = ("$", "\\(", "\\[", "\\boxed")


def answer(request: Mapping[str, Any], call: object) -> dict[str, Any]:
    """``{"same": bool}``, or ``{"unread": "reference"}`` or ``"answer"``; an empty request only loads the library."""
    if not request:
        parse("$1$", parsing_timeout=None)
        return {"ready": True}
    reference, said = (_parsed(request[name]) for name in ("reference", "answer"))
    if not reference or not said:
        return {"unread": "answer" if reference else "reference"}
    return {"same": bool(verify(reference, said, timeout_seconds=None))}


def _parsed(text: str) -> list[Any]:
    formula = text if any(mark in text for mark in _DELIMITERS) else f"${text}$"
    return list(parse(formula, parsing_timeout=None))
