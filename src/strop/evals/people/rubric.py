"""The rubric: what people are asked of every pair, beside which answer is better on the whole."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import RecipeError

MAX_ASPECTS = 8
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Aspect:
    """One thing to compare two answers by. Raises: RecipeError for a name that is no identifier, or without words."""

    name: str
    label: str
    question: str
    required: bool = True
    """Whether a judgement needs an answer here; "does not apply" is one."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == "overall":
            raise RecipeError(
                f"an aspect cannot be called {self.name!r}",
                why="its name is a key of every judgement, and `overall` is asked anyway",
                do="use small letters, digits and `_`",
            )
        if not self.label.strip() or not self.question.strip():
            raise RecipeError(f"aspect `{self.name}` says nothing", do="give it a `label` and a `question`")


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """What is asked and how it is put. Raises: RecipeError for two aspects of one name, or too many."""

    name: str
    instructions: str
    aspects: tuple[Aspect, ...]
    overall: str = "On the whole, which answer is better?"

    def __post_init__(self) -> None:
        names = [aspect.name for aspect in self.aspects]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise RecipeError(f"the rubric has two aspects `{twice[0]}`", do="give each a name of its own")
        if len(names) > MAX_ASPECTS:
            raise RecipeError(
                f"the rubric has {len(names)} aspects",
                why="people answer all of them for every pair",
                do=f"keep the {MAX_ASPECTS} that matter",
            )

    @property
    def digest(self) -> str:
        """Identity of every word that people are asked."""
        return digest_json(asdict(self))


DEFAULT = Rubric(
    name="assistant",
    instructions="Read what was asked and both answers to their end. Judge what they say, not how long they are.",
    aspects=(
        Aspect(
            name="information_density",
            label="Information density",
            question="Which says more of what the user needs, in fewer words?",
        ),
        Aspect(
            name="explanation_quality",
            label="Explanation quality",
            question="Which explains better why it is so, and is easier to follow and to check?",
        ),
        Aspect(
            name="high_risk_boundary",
            label="High-risk boundary judgement",
            question="Where money, permissions or safety are at stake: which draws the line better, "
            "neither going too far nor refusing what is allowed?",
        ),
    ),
)


def parse_rubric(content: Mapping[str, Any], *, where: str = "the rubric") -> Rubric:
    """The rubric that a table says: ``name``, ``instructions``, ``overall`` and ``[[aspect]]``. Raises: RecipeError."""
    _require_keys(content, {"name", "instructions", "overall", "aspect"}, where)
    rows = content.get("aspect", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RecipeError("`aspect` is no list of tables", where=where, do="write [[aspect]] before each")
    aspects = []
    for row in rows:
        _require_keys(row, {field.name for field in fields(Aspect)}, where)
        words = {key: row.get(key, "") for key in ("name", "label", "question")}
        _require_texts(words, where)
        required = row.get("required", True)
        if not isinstance(required, bool):
            raise RecipeError(f"`required` is {required!r}", where=where, do="write true or false")
        aspects.append(Aspect(**words, required=required))
    words = {key: content.get(key, getattr(DEFAULT, key)) for key in ("name", "instructions", "overall")}
    _require_texts(words, where)
    return Rubric(**words, aspects=tuple(aspects))


def read_rubric(path: Path | str) -> Rubric:
    """The rubric in a TOML or JSON file. Raises: RecipeError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"cannot read the rubric {path}", where=str(path), why=why, do="give TOML or JSON") from error
    return parse_rubric(content, where=str(path))


def _require_keys(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            do = (f"did you mean `{near[0]}`? " if near else "") + f"known: {', '.join(sorted(known))}"
            raise RecipeError(f"unknown key `{key}` in the rubric", where=where, do=do)


def _require_texts(words: Mapping[str, Any], where: str) -> None:
    for key, value in words.items():
        if not isinstance(value, str):
            raise RecipeError(f"`{key}` is {value!r}", where=where, why="it is no text", do="write it in quotes")
