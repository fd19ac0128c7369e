"""MATH and MATH-500: competition problems with worked solutions whose answer stands in ``\\boxed{}``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from strop.errors import DataError
from strop.types import Task
from strop.verifiers import AuditCase, MathAnswer
from strop.verifiers.numbers import marked_answer
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, task_of

BOXED = "\n\nPut your final answer in \\boxed{}."
"""What the field adds to a problem so that the answer can be found."""

_COLUMNS = {
    "problem": ("problem",),
    "solution": ("solution", ""),
    "answer": ("answer", ""),
    "level": ("level", ""),
    "subject": ("subject", "type", ""),
    "id": ("unique_id", "id", ""),
}


def load_math(path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
    r"""The tasks of a file in the format of MATH or MATH-500: ``problem``, ``solution``, ``answer``, ``level`` ...

    The prompt is the problem and the request for a box. Without an ``answer`` it is read from the last ``\boxed{}`` of
    the solution. Slices: ``level`` (``1`` to ``5``) and ``subject`` (or ``type``), where the file has them. A folder is
    read whole. Raises: DataError.
    """
    tasks = []
    for row, found in read_columns(path, "math", _COLUMNS, split=split, limit=limit):
        solution = str(found["solution"] or "")
        answer = found["answer"] if found["answer"] is not None else boxed_answer(solution)
        if answer is None or not str(answer).strip():
            raise DataError(
                "the row has no answer",
                where=row.where,
                why="there is no `answer`, and no \\boxed{} in its `solution`",
                do="mend or remove the row",
            )
        level = str(found["level"] if found["level"] is not None else "").removeprefix("Level ")
        slices = {"level": level, "subject": str(found["subject"] or "")}
        tasks.append(
            task_of(
                row,
                str(found["problem"]) + BOXED,
                reference={"answer": answer, "solution": solution},
                slices={name: value for name, value in slices.items() if value},
                id=str(found["id"] or ""),
            )
        )
    return identified("math", tasks)


def boxed_answer(solution: str) -> str | None:
    """What stands in the last box of a solution; None without one."""
    place = solution.rfind("\\boxed")
    return marked_answer(solution[place:].split("\n\n")[0]) if place >= 0 else None


def boxed_cases(tasks: Sequence[Task]) -> list[AuditCase]:
    """Each answer in a box, which is right, and three that are wrong: another, one of two, and nothing."""
    cases = []
    for task in tasks:
        answer = str(task.reference["answer"])
        cases.append(AuditCase(task=task, text=f"\\boxed{{{answer}}}", should_pass=True))
        wrong = ("\\boxed{7919.5}", f"\\boxed{{{answer}}} or \\boxed{{7919}}", "")
        cases += [AuditCase(task=task, text=text, should_pass=False) for text in wrong]
    return cases


MATH = Benchmark(name="math", load=load_math, verifier=MathAnswer, cases=boxed_cases)
