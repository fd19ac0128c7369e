"""MBPP: small Python functions described in a sentence, judged by the asserts that the sentence comes with."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strop.data.readers import Row
from strop.errors import DataError
from strop.types import Task
from strop.verifiers.code import CodeAnswer, code_cases
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, task_of

_COLUMNS = {
    "task_id": ("task_id", ""),
    "text": ("text", "prompt"),
    "code": ("code",),
    "tests": ("test_list",),
    "setup": ("test_setup_code", "test_imports", ""),
    "challenge": ("challenge_test_list", ""),
}


def load_mbpp(
    path: str | Path, *, split: str = "test", limit: int | None = None, challenge: bool = False
) -> list[Task]:
    """The tasks of a file in the format of MBPP, full or sanitized.

    The user's turn is the paper's: the sentence and the asserts of ``test_list``. They judge the answer, and with
    ``challenge`` those of ``challenge_test_list`` too, after ``test_setup_code``; ``reference`` has them as ``check``,
    the names that they call as ``entry_point`` and ``functions``, and ``code`` as ``solution``. Tests that make objects
    of a class of the answer's own cannot be judged from outside: such a task's verdict is of state ``error``, which
    says so. Raises: DataError.
    """
    tasks = []
    for row, found in read_columns(path, "mbpp", _COLUMNS, split=split, limit=limit):
        shown = _texts(row, found["tests"], "test_list")
        hidden = _texts(row, found["challenge"] or [], "challenge_test_list") if challenge else []
        setup = found["setup"] or ""
        setup = "\n".join(map(str, setup)) if isinstance(setup, Sequence) and not isinstance(setup, str) else str(setup)
        reference = _reference(row, str(found["code"]), setup, [*shown, *hidden])
        asked = "\n".join(shown)
        question = f"{str(found['text']).strip()} Your code should pass these tests:\n\n{asked}\n"
        number = "" if found["task_id"] is None else f"MBPP/{found['task_id']}"
        tasks.append(task_of(row, question, reference=reference, slices={}, id=number))
    return identified("mbpp", tasks)


def _texts(row: Row, value: Any, column: str) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(one, str) for one in value):
        raise DataError(f"`{column}` is not a list of tests", where=row.where, do="give it as in the MBPP format")
    return [str(one) for one in value]


def _reference(row: Row, code: str, setup: str, tests: Sequence[str]) -> Mapping[str, Any]:
    """The tests as one check of the functions that the solution defines and they call."""
    trusted = f"{setup}\n" + "\n".join(tests)
    try:
        solution, used = ast.parse(code), _names(ast.parse(trusted))
        body = "\n".join(textwrap.indent(ast.unparse(ast.parse(test)), "    ") for test in tests)
    except (SyntaxError, ValueError) as error:
        raise DataError(
            f"the row is not Python: {error}", where=row.where, why="its tests are run", do="mend the row"
        ) from None
    defined = {name: kind for node in solution.body for name, kind in _definitions(node)}
    functions = [name for name in used if defined.get(name) == "function"]
    classes = [name for name in used if defined.get(name) == "class"]
    if not functions or not body:
        why = "the tests call nothing that `code` defines" if body else "there are no tests"
        raise DataError("the row cannot be judged", where=row.where, why=why, do="mend the row, or leave it out")
    check = f"{setup}\n\ndef check(candidate):\n{body}\n"
    if classes:
        why = f"the tests make objects of the answer's own class {classes[0]}, which cannot leave the sandbox"
        check = f"def check(candidate):\n    raise NotImplementedError({why!r})\n"
    return {"entry_point": functions[0], "functions": functions, "check": check, "solution": code}


def _names(tree: ast.AST) -> list[str]:
    """The names that are read, each once, in the order of a walk."""
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def _definitions(node: ast.stmt) -> list[tuple[str, str]]:
    if isinstance(node, ast.Assign):
        return [(target.id, "function") for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.ClassDef):
        return [(node.name, "class")]
    return [(node.name, "function")] if isinstance(node, ast.FunctionDef) else []


MBPP = Benchmark(name="mbpp", load=load_mbpp, verifier=CodeAnswer, cases=code_cases)
