"""Schemas that others wrote, with valid and invalid instances, judged against the grammars made of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from constraint_texts import compiled, write
from strop.constraints import Vocabulary
from strop.errors import ConstraintError

Case = tuple[str, Any, list[dict[str, Any]]]
"""Name, schema, tests with ``data`` and ``valid``."""
ANNOTATION_BY_DEFAULT = "is only an annotation by default"
"""Tests of the official suite that hold formats for annotations; here they assert."""


def maskbench(data: Path) -> list[Case]:
    """300 schemas from the wild (jsonschemabench)."""
    with open(data / "maskbench/schemas.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["name"], row["schema"], row["tests"]) for row in rows]


def official_suite(data: Path) -> list[Case]:
    """The JSON-Schema test suite, draft 2020-12, optional tests included."""
    folder = data / "json-schema/tests/draft2020-12"
    cases: list[Case] = []
    for path in sorted(folder.rglob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            name = f"{path.relative_to(folder)}: {case['description']}"
            cases.append((name, case["schema"], case["tests"]))
    return cases


@dataclass
class Judged:
    """What came out of a corpus."""

    num_schemas: int = 0
    num_instances: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Schema → reason."""
    excluded: Counter[str] = field(default_factory=Counter)
    """Why an instance was not judged, or not as it stands → how many."""
    wrong: list[str] = field(default_factory=list)
    """Valid ones rejected and invalid ones accepted, by grammar or record."""

    @property
    def num_accepted(self) -> int:
        return self.num_schemas - len(self.refused)

    def reasons(self) -> dict[str, int]:
        """Refusals by the first words of their reason."""
        return dict(Counter(reason.splitlines()[1].removeprefix("  why: ")[:90] for reason in self.refused.values()))


def judge(cases: Sequence[Case]) -> Judged:
    """Every instance in its canonical spelling, against the grammar and against the validator of record."""
    found = Judged()
    for name, schema, tests in cases:
        found.num_schemas += 1
        try:
            language = compiled(schema)
        except ConstraintError as error:
            found.refused[name] = str(error)
            continue
        for test in tests:
            if ANNOTATION_BY_DEFAULT in test.get("description", ""):
                found.excluded["formats are annotations by default"] += 1
                continue
            text = language.canonical(test["data"])
            if re.search(r"[0-9]{301}", text):
                found.excluded["a number of more than 300 digits"] += 1
                continue
            found.num_instances += 1
            if text != json.dumps(test["data"], ensure_ascii=False, separators=(",", ":")):
                found.excluded["judged in another spelling: order of names, numbers, escapes"] += 1
            if language.accepts(text) != test["valid"]:
                found.wrong.append(f"{name}: the grammar {'rejects' if test['valid'] else 'accepts'} {text[:120]}")
            if (not language.validate(text)) != test["valid"]:
                found.wrong.append(f"{name}: the record {'rejects' if test['valid'] else 'accepts'} {text[:120]}")
    return found


def random_texts(
    cases: Sequence[Case], vocabulary: Vocabulary, *, budget: int, seeds: int
) -> Iterator[tuple[str, bool, tuple[str, ...], bool]]:
    """Of each schema accepted: name, whether a random text finished, its errors, and whether 128 tokens could do."""
    for name, schema, tests in cases:
        try:
            language = compiled(schema, vocabulary)
        except ConstraintError:
            continue
        sizes = [len(vocabulary.engine.tokenize_str(language.canonical(t["data"]))) for t in tests if t["valid"]]
        is_small = bool(sizes) and min(sizes) <= 128
        for seed in range(seeds):
            try:
                text, finished, _ = write(language, budget, seed)
            except ConstraintError as error:
                yield name, False, (str(error),), is_small
                continue
            yield name, finished, language.validate(text) if finished else (), is_small
