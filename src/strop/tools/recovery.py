"""Whether a session's errors were made good, and within how many tries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strop.tools.session import ToolRecord


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Errors of a session and what became of them."""

    tries: tuple[int | None, ...]
    """One entry an error, in order: the further tries until it was made good; None: it never was."""
    within: int
    """R: more tries than these do not count as recovery."""

    @property
    def num_errors(self) -> int:
        """How many errors there were; a row of failures of one tool is one."""
        return len(self.tries)

    @property
    def num_recovered(self) -> int:
        """How many were made good within R tries."""
        return sum(tries is not None and tries <= self.within for tries in self.tries)

    @property
    def rate(self) -> float | None:
        """Recovered errors over errors; None without an error."""
        return self.num_recovered / self.num_errors if self.tries else None


def recovery_of(records: Sequence[ToolRecord], *, within: int) -> Recovery:
    """What became of every error of ``records``.

    An error opens with a call that is not ``ok`` and closes with the next ``ok`` call of the same tool, or of any tool
    where the called one does not exist. Tries that the session repeated by itself count like calls of the model.
    A call that the budget refused is no error and no try.
    """
    tries: list[int | None] = []
    open_errors: dict[str, tuple[int, int]] = {}  # tool, or "" for one that does not exist → (place, tries so far)
    for record in records:
        if record.result.state == "exhausted":
            continue
        mine = [key for key in ("", record.call.name) if key in open_errors]
        for key in mine:
            place, count = open_errors[key]
            open_errors[key] = (place, count + max(record.attempts, 1))
            if record.result.is_ok:
                tries[place] = open_errors.pop(key)[1]
        if record.result.is_ok and record.attempts > 1 and record.call.name not in mine:
            tries.append(record.attempts - 1)
        elif not record.result.is_ok:
            key = "" if record.result.state == "unknown_tool" else record.call.name
            if key not in open_errors:
                open_errors[key] = (len(tries), max(record.attempts, 1) - 1)
                tries.append(None)
    return Recovery(tries=tuple(tries), within=within)
