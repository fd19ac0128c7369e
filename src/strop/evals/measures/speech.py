"""How an answer speaks, whatever it says: its length, what it repeats, what it copies from the prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from strop.evals.metrics import ratio
from strop.types import Completion, Task, Verdict

_WORD = re.compile(r"\w+")
ECHO_WORDS = 5
"""So many words in a row that stand in the prompt are copied and not said by chance."""
REPEAT_WORDS = 3


def words_of(text: str) -> tuple[str, ...]:
    """Runs of letters and digits in small letters: marks and spacing do not count."""
    return tuple(_WORD.findall(text.casefold()))


def _runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]


def repetition(text: str, *, num_words: int = REPEAT_WORDS) -> float | None:
    """The share of the runs of ``num_words`` words that stood in the text before; None where it is too short for one.

    1 - distinct runs / runs

    *Source*: Welleck et al. 2019, "Neural text generation with unlikelihood training", seq-rep-n. 0 where all differ.
    """
    runs = _runs(words_of(text), num_words)
    distinct = ratio(len(set(runs)), len(runs))
    return None if distinct is None else 1 - distinct


def echo(text: str, source: str, *, num_words: int = ECHO_WORDS) -> float | None:
    """The share of the answer's words that stand in runs of ``num_words`` or more copied from ``source``.

    An answer of fewer words than a run is compared as a whole where it has two words at least; None for fewer.
    """
    words, known = words_of(text), words_of(source)
    length = min(num_words, len(words))
    if length < 2:
        return None
    standing = set(_runs(known, length))
    copied = {at + offset for at, run in enumerate(_runs(words, length)) if run in standing for offset in range(length)}
    return len(copied) / len(words)


def measure_speech(task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
    """``num_words``, ``repetition`` and ``echo`` of an answer in words; None for one that calls a tool.

    A truncated answer has no length of its own (None), but what it repeats and copies is measured: that is how an
    endless answer looks. ``echo`` is against what the user said last, not what tools showed, for that is to be told.
    """
    if "<tool_call>" in completion.text:
        return dict.fromkeys(("num_words", "repetition", "echo"))
    asked = [message.content for message in task.prompt if message.role == "user"]
    return {
        "num_words": None if completion.is_truncated else float(len(completion.text.split())),
        "repetition": repetition(completion.text),
        "echo": echo(completion.text, asked[-1]) if asked else None,
    }
