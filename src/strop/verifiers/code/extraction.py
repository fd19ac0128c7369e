"""The code in an answer, found without parsing it: what compiles is found out in the sandbox."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)
_LANGUAGES = ("", "python", "python3", "py")
_FIRST_CODE = re.compile(r"^(?:import |from \w|def |async def |class |@)", re.MULTILINE)
_NUM_CUTS = 8


def find_code(text: str, *, prompt: str = "", entry_point: str = "") -> tuple[str, ...]:
    """The programs that the answer may mean, most likely first; the first that compiles counts. Empty without code.

    Thoughts before ``</think>`` are left out. Of several fenced blocks of Python the last that defines ``entry_point``
    counts, else the last. A whole definition stands behind what precedes its own in ``prompt`` (imports, helpers);
    anything else goes on where ``prompt`` ends. What is not fenced may be followed by prose, which is cut off.
    """
    said = text.rpartition("</think>")[2]
    blocks = [body for language, body in _BLOCK.findall(said) if language.lower() in _LANGUAGES]
    defining = [body for body in blocks if _defines(body, entry_point)]
    if defining or (blocks and not prompt):
        return _whole((defining or blocks)[-1], prompt, entry_point)
    if blocks:
        return (prompt + blocks[-1], blocks[-1])
    if not said.strip():
        return ()
    if not prompt or _defines(said, entry_point):
        first = _FIRST_CODE.search(said) if entry_point else None
        code = said[first.start() :] if first else said
        return tuple(one for cut in _cuts(code, entry_point) for one in _whole(cut, prompt, entry_point))
    return tuple(prompt + cut for cut in _cuts(said, ""))


def preamble(prompt: str, entry_point: str) -> str:
    """What stands before the definition of ``entry_point`` in the prompt: its imports and helpers."""
    found = _definition(entry_point).search(prompt)
    return prompt[: found.start()] if found else prompt


def _definition(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(name)}\b|^{re.escape(name)}[ \t]*[:=]", re.MULTILINE
    )


def _defines(code: str, name: str) -> bool:
    return bool(name) and _definition(name).search(code) is not None


def _whole(code: str, prompt: str, entry_point: str) -> tuple[str, ...]:
    opening = preamble(prompt, entry_point) if prompt else ""
    return (f"{opening}\n{code}", code) if opening.strip() else (code,)


def _cuts(code: str, entry_point: str) -> list[str]:
    """The code, and what is left when lines from an unindented one on are dropped: the last few, and the first."""
    found = _definition(entry_point).search(code) if entry_point else None
    least = found.end() if found else 1
    starts = [line.start() for line in re.finditer(r"^(?=\S)", code, re.MULTILINE) if line.start() >= least]
    starts.reverse()
    return [code, *(code[:start] for start in starts[:_NUM_CUTS] + starts[_NUM_CUTS:][-1:])]
