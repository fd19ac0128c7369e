"""A verifier's digest is that of all the code that judges: no file that runs while it judges may be left out."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import strop
from strop.types import Completion, Task, Verifier
from strop.verifiers.cases import cases_of
from strop.verifiers.named import VERIFIERS
from strop.worlds import get_world

ROOT = Path(strop.__file__).parent
NOUNS = {"types.py", "digests.py", "errors.py"}
"""What every layer shares; it holds no rule of judging."""
WORLDS = [
    f"world:{name}"
    for name in (
        *("finance", "arithmetic", "lookup", "rewriting", "stack"),
        *("month_end", "finance_writing", "treasury"),
    )
]
NAMED = sorted(VERIFIERS.keys() - {"code", "proof", "stack", "rewriting", "ledger"})


def inside(files: set[str]) -> set[str]:
    return {Path(file).relative_to(ROOT).as_posix() for file in files if file.startswith(str(ROOT))} - NOUNS


def files_read(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    seen: set[str] = set()
    real = open

    def opened(file: Any, *args: Any, **named: Any) -> Any:
        seen.add(str(file))
        return real(file, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", opened)
        call()
    return inside(seen)


def files_run(verifier: Verifier, rows: list[tuple[Task, str]]) -> set[str]:
    verifier(rows[0][0], Completion(token_ids=(), sampler_logprobs=(), text=rows[0][1], finish_reason="stop"))
    seen: set[str] = set()  # what that first answer imported is none of it

    def note(frame: FrameType, event: str, value: object) -> None:
        seen.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        for task, text in rows:
            verifier(task, Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop"))
    finally:
        sys.setprofile(None)
    return inside(seen)


def rows_of(name: str) -> tuple[Verifier, list[tuple[Task, str]]]:
    if name in VERIFIERS:
        verifier = VERIFIERS[name]()
        return verifier, [(case.task, case.text) for case in cases_of(name, verifier)]
    world = get_world(name.removeprefix("world:"))
    tasks = [task for level in world.levels for task in world.tasks("train", 2, **level)]
    texts = [(task, [world.reference_text(task), *world.mutations(task), *world.cheats(task)]) for task in tasks]
    return world.verifier, [(task, text) for task, several in texts for text in several]


@pytest.mark.parametrize("name", [*NAMED, *WORLDS])
def test_no_file_that_judges_is_missing_from_the_digest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, rows = rows_of(name)
    run = files_run(verifier, rows)
    assert run, "nothing of the package judged"
    assert run - files_read(lambda: verifier.digest, monkeypatch) == set()
