"""Verifiers that misbehave on the answers that say so; importable, so that worker processes can have them."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass

from strop.errors import PromptError, RecipeError
from strop.types import Completion, Task, Verdict


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Does what the completion says, and passes every other one whose text is even."""

    name: str = "planted"
    digest: str = "0" * 64

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        text = completion.text
        if text == "hang":
            while True:
                time.sleep(0.1)
        if text == "spin":
            pow(9, 9**9)  # one operation of C that holds the interpreter's lock
        if text == "exit":
            os._exit(0)
        if text == "segfault":
            ctypes.string_at(0)
        if text == "raise":
            raise KeyError("answer")
        if text == "hog":
            bytearray(1 << 40)
        if text == "leave":
            raise SystemExit(0)
        if text == "nothing":
            return None  # type: ignore[return-value]
        if text == "refuse":
            raise RecipeError("no such reference", where=task.id, why="why", do="do")
        if text == "refuse specially":
            raise PromptError("too long", index=3)
        if text == "pid":
            return Verdict(score=float(os.getpid()), passed=True)
        right = int(text) % 2 == 0
        return Verdict(
            score=float(right), passed=right, reasons=(text,), steps=(0.5, None), measures={"n": 1.0 / int(text or 1)}
        )


def _fail() -> None:
    raise ImportError("libmissing.so")


@dataclass(frozen=True, kw_only=True)
class Unloadable(Planted):
    """Can be sent to a worker, which cannot load it."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _fail, ()
