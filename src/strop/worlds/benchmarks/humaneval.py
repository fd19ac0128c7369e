"""HumanEval: Python functions to complete from their signature and docstring, judged by hidden unit tests."""

from __future__ import annotations

from pathlib import Path

from strop.types import Task
from strop.verifiers.code import CodeAnswer, code_cases
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, task_of

_COLUMNS = {
    "task_id": ("task_id",),
    "prompt": ("prompt",),
    "entry_point": ("entry_point",),
    "solution": ("canonical_solution", ""),
    "test": ("test",),
}


def load_humaneval(path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
    """The tasks of a file in the format of openai/human-eval, which HumanEval+ shares.

    The user's turn asks for the function and shows ``prompt`` as Python; a completion is taken whole or as what goes on
    from there. ``reference`` has ``prompt``, ``entry_point``, ``check`` (the column ``test``) and ``solution``, the
    prompt with its canonical solution. Raises: DataError.
    """
    tasks = []
    for row, found in read_columns(path, "humaneval", _COLUMNS, split=split, limit=limit):
        prompt = str(found["prompt"])
        reference = {"prompt": prompt, "entry_point": str(found["entry_point"]), "check": str(found["test"])}
        if found["solution"] is not None:
            reference["solution"] = f"{prompt}{found['solution']}"
        question = f"Complete this Python function.\n```python\n{prompt.strip()}\n```"
        tasks.append(task_of(row, question, reference=reference, slices={}, id=str(found["task_id"])))
    return identified("humaneval", tasks)


HUMANEVAL = Benchmark(name="humaneval", load=load_humaneval, verifier=CodeAnswer, cases=code_cases)
