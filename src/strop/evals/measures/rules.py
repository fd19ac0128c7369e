"""Whether an answer keeps to what the system prompt asks for: rules that can be read off the text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from strop.chat.parse import parse_assistant
from strop.errors import VerifierError
from strop.evals.dialogues import plain
from strop.evals.metrics import ratio
from strop.types import Completion, Task, Verdict
from strop.verifiers import FormatAnswer
from strop.verifiers.text import says_something

_FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and is are was to for with that this it you not have from by please can",
        "de": "der die das und ist nicht mit für ein eine den dem von zu sich auf wird sind bitte wir",
        "fr": "le les de en et est une des du pour dans que qui pas sur avec vous nous au cette sont la",
        "es": "el la los las de en y es una del para que no con por se su como está son al lo",
        "it": "il gli e è una della per che non con di sono del nel alla più questo si",
        "nl": "de het een en van is niet met voor dat op te zijn wordt aan ook deze wij",
    }.items()
}
_SCRIPTS: Mapping[str, str] = {
    "zh": "[\u4e00-\u9fff]",
    "ja": "[\u3040-\u30ff]",
    "ko": "[\uac00-\ud7af]",
    "ru": "[\u0400-\u04ff]",
    "ar": "[\u0600-\u06ff]",
    "el": "[\u0370-\u03ff]",
}
LANGUAGES = (*_FUNCTION_WORDS, *_SCRIPTS)
_MIN_HITS = 2
_MIN_SHARE = 0.3
"""Of the letters, that must be of a script for the text to be in its language."""


def language_of(text: str) -> str | None:
    """The language that the text is in, by its script or its function words; None where neither settles it.

    Short answers ("4503 [query_erp].") are in no language; a tie of two languages is not decided. One that is not among
    ``LANGUAGES`` may be taken for a neighbour that shares its function words (Portuguese for Spanish).
    """
    letters = [character for character in text if character.isalpha()]
    for language in ("ja", *(name for name in _SCRIPTS if name != "ja")):  # Japanese writes Chinese characters too
        found = re.findall(_SCRIPTS[language], text)
        if letters and len(found) / len(letters) >= _MIN_SHARE:
            return language
    words = re.findall(r"[^\W\d_]+", text.casefold())
    hits = {name: sum(word in known for word in words) for name, known in _FUNCTION_WORDS.items()}
    first, second = sorted(hits, key=lambda name: -hits[name])[:2]
    return first if hits[first] >= _MIN_HITS and hits[first] > hits[second] else None


def _says(text: str, words: str) -> bool:
    wanted = plain(words)
    before, after = (r"\b" if re.match(r"\w", edge) else "" for edge in (wanted[0], wanted[-1]))
    return re.search(f"{before}{re.escape(wanted)}{after}", plain(text)) is not None


def _language(text: str, wanted: Any, task: Task, completion: Completion) -> bool | None:
    if wanted not in LANGUAGES:
        raise _wrong(task, f"the language {wanted!r}", f"one of {', '.join(LANGUAGES)}")
    found = language_of(text)
    return None if found is None else found == wanted


def _format(text: str, wanted: Any, task: Task, completion: Completion) -> bool | None:
    asked = Task(id=task.id, prompt=task.prompt, reference={"format": wanted}, source=task.source)
    return FormatAnswer()(asked, completion).passed


_RULES: Mapping[str, Callable[[str, Any, Task, Completion], bool | None]] = {
    "language": _language,
    "max_words": lambda text, most, *_: len(text.split()) <= most,
    "min_words": lambda text, least, *_: len(text.split()) >= least,
    "max_characters": lambda text, most, *_: len(text) <= most,
    "forbidden": lambda text, words, *_: not any(_says(text, word) for word in words),
    "must_mention": lambda text, words, *_: all(_says(text, word) for word in words),
    "starts_with": lambda text, words, *_: text.startswith(words.strip()),
    "ends_with": lambda text, words, *_: text.endswith(words.strip()),
    "format": _format,
}
RULES = tuple(_RULES)
_COUNTS, _LISTS, _EDGES = (
    ("max_words", "min_words", "max_characters"),
    ("forbidden", "must_mention"),
    ("starts_with", "ends_with"),
)


def check_rules(task: Task, completion: Completion) -> Mapping[str, bool | None]:
    """Rule → whether the answer keeps it; None where that cannot be told.

    ``task.reference["rules"]``: ``language`` (a code of ``LANGUAGES``), ``max_words``, ``min_words``,
    ``max_characters``, ``forbidden`` and ``must_mention`` (lists of words or phrases, whole words, case does not
    count), ``starts_with``, ``ends_with``, ``format`` (see ``FormatAnswer``). They hold for what is said: reasoning
    before it is left out, and calls are no speech: of an answer that only calls nothing can be told. A truncated answer
    keeps no rule, nor does silence: no rule asks for it. Raises: VerifierError for no rules, one that is not known, and
    one that no answer could be held to.
    """
    rules = _rules_of(task)
    try:
        turn = parse_assistant(completion.text)
        said, is_call = turn.content.strip(), bool(turn.tool_calls)
    except ValueError:
        said, is_call = completion.text.strip(), False
    if completion.is_truncated:
        return dict.fromkeys(rules, False)
    if not says_something(said):
        return dict.fromkeys(rules, None if is_call else False)
    return {name: _RULES[name](said, wanted, task, completion) for name, wanted in rules.items()}


def _rules_of(task: Task) -> Mapping[str, Any]:
    rules = task.reference.get("rules")
    if not isinstance(rules, Mapping) or not rules:
        raise _wrong(task, "no rules", '{"rules": {"max_words": 20, "forbidden": ["guarantee"]}}')
    for name, wanted in rules.items():
        if name not in _RULES:
            near = difflib.get_close_matches(str(name), RULES, n=1)
            raise _wrong(task, f"the rule {name!r}", f"`{near[0]}`" if near else f"rules of {', '.join(RULES)}")
        if name in _COUNTS and (type(wanted) is not int or wanted < 0):
            raise _wrong(task, f"{name} = {wanted!r}", "a whole number")
        if name in _LISTS and not (isinstance(wanted, list | tuple) and wanted and all(map(_is_text, wanted))):
            raise _wrong(task, f"{name} = {wanted!r}", "a list of words")
        if name in _EDGES and not _is_text(wanted):
            raise _wrong(task, f"{name} = {wanted!r}", "a text")
    return rules


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def measure_rules(task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
    """``adherence``: all rules are kept; ``rules_kept``: the share of those that could be told.

    Over tasks that have rules. A broken rule breaks adherence; where none is broken and one cannot be told, it is None:
    neither kept nor broken.
    """
    if not task.reference.get("rules"):
        return {"adherence": None, "rules_kept": None}
    kept = check_rules(task, completion)
    told = [value for value in kept.values() if value is not None]
    adherence = 0.0 if False in told else 1.0 if len(told) == len(kept) else None
    return {"adherence": adherence, "rules_kept": ratio(sum(told), len(told))}


def _wrong(task: Task, what: str, needed: str) -> VerifierError:
    return VerifierError(
        f"task {task.id} has {what}",
        where=task.source or task.id,
        why="its answers cannot be held to that",
        do=f"give it {needed}",
    )
