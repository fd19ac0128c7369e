"""Whether what an answer does can be done: its calls against the world's services, its code in the sandbox."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strop.digests import digest_json
from strop.types import Completion, Task, ToolCall, Verdict
from strop.verifiers import measure_calls
from strop.verifiers.calls import parse_calls

if TYPE_CHECKING:
    from strop.sandbox import Outcome, Sandbox

_CALL = "<tool_call>"
_UNKNOWN = ("infrastructure", "killed")
"""States of the sandbox after which nothing is known about the program."""


def measure_tools(task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
    """``strop.verifiers.measure_calls``: validity, precision, recall, success and number of the calls, and
    ``call_rate``: whether anything was called, which says nothing of whether it should have been."""
    values = measure_calls(task, completion)
    return {**values, "call_rate": float(bool(values["num_calls"]))}


# ---------------------------------------------------------------------------------------------------------------- calls


@dataclass(frozen=True)
class CallsRun:
    """``executable``: the answer's calls parse, are no fewer than one, and every one is served without an error.

    Over answers that call or should (``reference["call"]``); None elsewhere. What parses and is refused by the service
    is not executable, however valid its JSON; what runs may still be the wrong action: see ``argument_exact``.
    """

    execute: Callable[..., str]
    """A world's ``execute(call, tenant=...)``; its answer is JSON, an error ``{"error": ...}``."""
    world: str

    @property
    def digest(self) -> str:
        """Identity of the services."""
        return digest_json(["calls_run", self.world])

    def __call__(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        is_due = bool(task.reference.get("call")) and task.reference.get("expects", "call") == "call"
        if not is_due and _CALL not in completion.text:
            return {"executable": None}
        try:
            calls = () if completion.is_truncated else parse_calls(completion.text)
        except ValueError:
            calls = ()
        return {"executable": float(bool(calls) and all(self._runs(task, call) for call in calls))}

    def _runs(self, task: Task, call: ToolCall) -> bool:
        tenant = task.reference.get("tenant")
        try:
            value: Any = json.loads(self.execute(call) if tenant is None else self.execute(call, tenant=tenant))
        except ValueError:
            return True  # a text that is no JSON is no error
        return not (isinstance(value, Mapping) and "error" in value)


# ----------------------------------------------------------------------------------------------------------------- code


@dataclass(frozen=True)
class CodeRuns:
    """``executable``: the answer holds Python that compiles, runs to its end in the sandbox, and can be called once.

    The call is that of the first test in ``reference["tests"]`` where there is one, and it has to come back; its value
    is not looked at, that is for ``accuracy``. None where the sandbox failed. The caller opens and closes the sandbox.
    """

    sandbox: Sandbox

    @property
    def digest(self) -> str:
        """Identity of the rule; under which tier it ran does not change what a program is."""
        return digest_json(["code_runs"])

    def __call__(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        from strop.verifiers.code.extraction import find_code

        name = str(task.reference.get("entry_point") or "")
        call, mark = _first_call(name, task.reference.get("tests")), secrets.token_hex(8)
        ending = f"\n{call}\nprint({mark!r})\n" if call else ""
        found = () if completion.is_truncated else find_code(completion.text, entry_point=name)
        states = []
        for source in found:
            outcome = self.sandbox.run(source + ending)
            if outcome.state in _UNKNOWN and outcome.exit_code is None:
                return {"executable": None}
            # a program that ends itself before the call has not been called
            states.append(_is_done(outcome) and (not call or outcome.stdout.rstrip().endswith(mark.encode())))
            if states[-1]:
                break
        return {"executable": float(any(states))}


def _first_call(name: str, tests: object) -> str:
    first = tests[0] if isinstance(tests, list | tuple) and tests else None
    call = first.get("call") if isinstance(first, Mapping) else None
    return f"{name}(*{list(call)!r})" if name and isinstance(call, list | tuple) else ""


def _is_done(outcome: Outcome) -> bool:
    return outcome.state == "exited" and outcome.exit_code == 0
