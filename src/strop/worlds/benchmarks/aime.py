"""AIME: fifteen problems an exam whose answers are whole numbers from 0 to 999."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from strop.errors import DataError
from strop.types import Task
from strop.verifiers import MathAnswer
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, task_of
from strop.worlds.benchmarks.math import BOXED, boxed_cases

_COLUMNS = {
    "problem": ("problem", "question"),
    "answer": ("answer",),
    "solution": ("solution", ""),
    "id": ("id", "problem_id", "problem_idx", ""),
    "url": ("url", ""),
    "year": ("year", ""),
}
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)(?!\d)")
_PART = re.compile(r"(?<![A-Za-z])(I{1,2})(?![A-Za-z])")


def load_aime(path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
    """The tasks of a file with ``problem`` and ``answer`` (``073`` is 73), as AIME sets are published.

    The prompt is the problem and the request for a box. Slices: ``year`` and ``exam`` (``I``, ``II``), where a
    ``year``, an ``id`` such as ``2024-II-4`` or a ``url`` says them. Raises: DataError for an answer that is none.
    """
    tasks = []
    for row, found in read_columns(path, "aime", _COLUMNS, split=split, limit=limit):
        answer = str(found["answer"]).strip()
        if not re.fullmatch(r"\d{1,3}", answer):
            raise DataError(
                f"the answer is {answer!r}",
                where=row.where,
                why="an AIME answer is a whole number from 0 to 999",
                do="mend the row, or read the file as `math:`",
            )
        tasks.append(
            task_of(
                row,
                str(found["problem"]) + BOXED,
                reference={"answer": str(int(answer)), "solution": str(found["solution"] or "")},
                slices=_slices(found),
                id=str(found["id"] if found["id"] is not None else ""),
            )
        )
    return identified("aime", tasks)


def _slices(found: dict[str, Any]) -> dict[str, str]:
    place = " ".join(str(found[name]) for name in ("year", "id", "url") if found[name] is not None)
    year, part = _YEAR.search(place.replace("_", " ")), _PART.search(place.replace("_", " "))
    return {name: match[1] for name, match in (("year", year), ("exam", part)) if match}


AIME = Benchmark(name="aime", load=load_aime, verifier=MathAnswer, cases=boxed_cases)
