"""What the command line prints: errors in four short parts, progress as bars on a terminal and as lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from strop.errors import UserError

_PLAIN_WIDTH = 120
_LINE_EVERY_S = 5.0
_SHOWN = ("loss", "pass_rate", "validation_loss", "accuracy", "margin", "mean_reward", "tokens_per_s")
_EVALUATING = ("passed", "items_per_s", "cost")


class _Console(Console):
    """Goes on where nobody reads any more (``| head``): what is still to be written is, and the exit code stands."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or 120 columns in a file or pipe; brackets are text, never markup."""
    stream = sys.stderr if stderr else sys.stdout
    return _Console(stderr=stderr, highlight=False, markup=False, width=None if stream.isatty() else _PLAIN_WIDTH)


def say(text: str) -> None:
    """Print a line as it is."""
    make_console().print(Text(text), soft_wrap=True)


def say_on_stderr(text: str) -> None:
    """Print a line as it is on standard error."""
    make_console(stderr=True).print(Text(text), soft_wrap=True)


def print_error(error: UserError) -> None:
    """One message on standard error: what in red, then where, why and what to do."""
    text = Text.assemble(("error: ", "bold red"), (error.what, "red"))
    for label, part in (("where", error.where), ("why", error.why), ("do", error.do)):
        if part:
            text.append(f"\n  {label}: ", "bold").append(part)
    make_console(stderr=True).print(text, soft_wrap=True)


class Bars:
    """A ``types.Progress`` that draws; a context manager."""

    def __init__(self) -> None:
        self._console = make_console(stderr=True)
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=self._console,
        )

    def __enter__(self) -> Bars:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def __call__(self, label: str, done: float, total: float, metrics: Mapping[str, float]) -> None:
        """Draw, or print a line every few seconds and at the end."""
        shown = shown_metrics(metrics)
        if self._console.is_terminal:
            if label not in self._tasks:
                self._tasks[label] = self._bars.add_task(label, total=total, shown="")
            self._bars.update(self._tasks[label], completed=done, total=total, shown=shown)
            return
        now = time.monotonic()
        if done >= total or now - self._told.setdefault(label, now) >= _LINE_EVERY_S:
            self._told[label] = now
            say_on_stderr(f"{label}: {done:g}/{total:g} {shown}".rstrip())


def shown_metrics(metrics: Mapping[str, Any]) -> str:
    """The few numbers that tell how it goes."""
    found = dict(metrics)
    if found.get("num_tokens") and found.get("seconds"):
        found["tokens_per_s"] = round(found["num_tokens"] / found["seconds"])
    return "  ".join(f"{name} {found[name]:.4g}" for name in (*_SHOWN, *_EVALUATING) if name in found)
