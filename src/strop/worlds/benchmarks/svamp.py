"""SVAMP: one-step arithmetic in words, varied so that surface cues mislead."""

from __future__ import annotations

from pathlib import Path

from strop.types import Task
from strop.verifiers import NumberAnswer
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, task_of

_COLUMNS = {"body": ("Body",), "question": ("Question",), "answer": ("Answer",), "type": ("Type", ""), "id": ("ID", "")}


def load_svamp(path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
    """The tasks of a file in the format of arkilpatel/SVAMP: ``Body``, ``Question``, ``Answer``, ``Type``, ``ID``.

    The prompt is the body, ended by a full stop where it has none, and the question; the slice ``type`` is the
    operation. Raises: DataError.
    """
    tasks = []
    for row, found in read_columns(path, "svamp", _COLUMNS, split=split, limit=limit):
        body = str(found["body"]).strip()
        question = f"{body}{'.' * body[-1:].isalnum()} {str(found['question']).strip()}"
        slices = {"type": str(found["type"])} if found["type"] else {}
        reference = {"answer": found["answer"]}
        tasks.append(task_of(row, question, reference=reference, slices=slices, id=str(found["id"] or "")))
    return identified("svamp", tasks)


SVAMP = Benchmark(name="svamp", load=load_svamp, verifier=NumberAnswer)
