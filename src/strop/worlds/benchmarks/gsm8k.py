"""GSM8K: school problems in words whose worked solution ends in ``#### 18``."""

from __future__ import annotations

from pathlib import Path

from strop.errors import DataError
from strop.types import Task
from strop.verifiers import NumberAnswer
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, task_of

_COLUMNS = {"question": ("question",), "answer": ("answer",)}


def load_gsm8k(path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
    """The tasks of a file in the format of openai/grade-school-math: ``question`` and ``answer``.

    The prompt is the question alone. ``reference["answer"]`` is what follows ``####``, ``reference["solution"]`` the
    whole; the slice ``steps`` counts the calculations ``<<...>>`` of the solution. Raises: DataError.
    """
    tasks = []
    for row, found in read_columns(path, "gsm8k", _COLUMNS, split=split, limit=limit):
        solution, mark, answer = str(found["answer"]).rpartition("####")
        if not mark or not answer.strip():
            raise DataError(
                "the answer has no `####`",
                where=row.where,
                why=f"a GSM8K solution ends in `#### 18`, this one in {str(found['answer'])[-40:]!r}",
                do="mend the row, or read the file without `gsm8k:` and name a verifier",
            )
        reference = {"answer": answer.strip(), "solution": found["answer"]}
        slices = {"steps": str(solution.count("<<"))}
        tasks.append(task_of(row, str(found["question"]), reference=reference, slices=slices))
    return identified("gsm8k", tasks)


GSM8K = Benchmark(name="gsm8k", load=load_gsm8k, verifier=NumberAnswer)
