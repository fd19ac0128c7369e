"""A session: one caller's calls, checked before anything runs, bounded by a budget, recorded with what they met."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

from strop.errors import ToolError, ToolRefusal
from strop.tools.contracts import Caller, ToolContract, ToolRegistry
from strop.tools.faults import FAULT_REASONS, FaultKind, Faults
from strop.tools.state import StateView, WorldState
from strop.types import Json, ToolCall

ResultState = Literal["ok", "unknown_tool", "invalid_arguments", "denied", "exhausted", "failed", "inconsistent"]
_REFUSED: frozenset[str] = frozenset({"inconsistent", "denied", "invalid_arguments", "failed"})
_MAX_REASON = 160

ANSWER_NOW = "no calls are left: answer now with what you have"


class Service(Protocol):
    """What stands behind a tool. One with an index also has ``index_digest: str``, which is put on every record."""

    def __call__(self, contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> Any:
        """The result, a JSON value. Raises: ToolRefusal where the call cannot be answered."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a session may spend. Raises: ToolError for a bound below its least sensible value."""

    max_calls: int = 8
    """Calls in all, failed ones too; the next one is answered with ``exhausted``."""
    per_tool: Mapping[str, int] = field(default_factory=dict)
    """Tool → most calls of it."""
    max_result_chars: int = 4000
    """A longer result is not cut, which would break its JSON: the call fails and says how to ask for less."""
    deadline_s: float | None = None
    """Seconds from the session's beginning after which no call is begun."""
    retries: int = 0
    """How often the session itself tries again where a service timed out, broke or refused for its rate."""

    def __post_init__(self) -> None:
        if min(self.max_calls, self.max_result_chars, self.retries, *self.per_tool.values()) < 0:
            raise ToolError(f"the budget {self} has a negative bound", do="use 0 for none")
        if self.deadline_s is not None and self.deadline_s < 0:
            raise ToolError(f"the deadline is {self.deadline_s} s", do="use None for none")


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What a call brought."""

    content: str
    """Compact JSON for the model: the result, or ``{"error": state, "why": reason}``."""
    state: ResultState
    reason: str = ""
    """Why it is not ``ok``."""
    value: Any = None
    """The result as a JSON value; None unless ``ok``."""

    @property
    def is_ok(self) -> bool:
        """Whether the tool answered."""
        return self.state == "ok"


@dataclass(frozen=True, kw_only=True)
class ToolRecord:
    """One call as it was met: what a trace keeps."""

    number: int
    """Its place among the session's calls, from 0."""
    call: ToolCall
    result: ToolResult
    contract_digest: str | None
    """None for a tool that does not exist."""
    index_digest: str | None
    """Of the index that the tool searched; None if it searched none."""
    faults: tuple[str, ...] = ()
    """What was injected into its tries."""
    attempts: int = 0
    """Tries that reached the service."""
    wall_s: float = 0.0

    @property
    def as_json(self) -> dict[str, Any]:
        """Everything but the time, which differs from run to run."""
        return {
            "number": self.number,
            "tool": self.call.name,
            "arguments": dict(self.call.arguments),
            "state": self.result.state,
            "content": self.result.content,
            "contract": self.contract_digest,
            "index": self.index_digest,
            "faults": list(self.faults),
            "attempts": self.attempts,
        }


class ToolSession:
    """Answers one caller's calls, one after the other, in one world.

    A call is judged in this order, and nothing runs before all of it is passed: budget, the tool's existence, the
    caller's tenant and permission, the arguments' schema, the tenant that an argument names. A call that does not end
    ``ok`` leaves the world as it was. Calls from several threads wait for each other, so that together they spend one
    budget; still give each dialogue its own session and ``state.copy()``.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        services: Mapping[str, Service],
        *,
        state: WorldState,
        caller: Caller,
        budget: Budget | None = None,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises: ToolError for a tool without a service, or a schema that is not valid."""
        if missing := [contract.name for contract in registry if contract.name not in services]:
            raise ToolError(f"the tool {missing[0]} has no service", do="give one, or leave the tool out")
        self.registry, self.services, self.state, self.caller = registry, services, state, caller
        self.budget, self.faults = budget or Budget(), faults or Faults()
        self.records: tuple[ToolRecord, ...] = ()
        self.is_over = False
        """Whether a call was refused because nothing is left: then the model is due to answer."""
        self.withheld: tuple[str, ...] = ()
        """Why answers were withheld from the user, if any were."""
        self._clock, self._begun, self._tries = clock, clock(), 0
        self._lock = threading.RLock()

    def call(self, call: ToolCall) -> ToolResult:
        """The result of ``call``; it is recorded whatever comes out."""
        with self._lock:
            return self._called(call)

    def _called(self, call: ToolCall) -> ToolResult:
        begun, tries = self._clock(), self._tries
        contract = self.registry.get(call.name)
        result = self._refusal(call, contract)
        faults: tuple[str, ...] = ()
        if result is None:
            assert contract is not None
            result, faults = self._tried(contract, call)
        service = None if contract is None else self.services[contract.name]
        record = ToolRecord(
            number=len(self.records),
            call=call,
            result=result,
            contract_digest=None if contract is None else contract.digest,
            index_digest=getattr(service, "index_digest", None),
            faults=faults,
            attempts=self._tries - tries,
            wall_s=self._clock() - begun,
        )
        self.records += (record,)
        return result

    def _refusal(self, call: ToolCall, contract: ToolContract | None) -> ToolResult | None:
        """Why the call may not run, before anything of it has run; None if it may."""
        late = self.budget.deadline_s is not None and self._clock() - self._begun >= self.budget.deadline_s
        if late or len(self.records) >= self.budget.max_calls:
            self.is_over = True
            return _refused("exhausted", ANSWER_NOW)
        if contract is None:
            return _refused("unknown_tool", f"there is no tool {call.name[:64]}")
        used = sum(record.call.name == call.name for record in self.records)
        if used >= self.budget.per_tool.get(call.name, self.budget.max_calls):
            return _refused("exhausted", f"{call.name} may be called {used} times, and was")
        if why := contract.why_not(self.caller):
            return _refused("denied", why)
        try:
            json.dumps(dict(call.arguments), allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return _refused("invalid_arguments", "the arguments are not JSON")
        if problems := contract.arguments_validator.errors(dict(call.arguments)):
            return _refused("invalid_arguments", problems[0])
        named = call.arguments.get(contract.tenant_argument, self.caller.tenant) if contract.tenant_argument else None
        if named not in (None, self.caller.tenant):
            return _refused("denied", f"{contract.tenant_argument} names another tenant")
        return None

    def _tried(self, contract: ToolContract, call: ToolCall) -> tuple[ToolResult, tuple[str, ...]]:
        """The first result that is not a passing failure, else the last one, and the faults on the way."""
        faults: list[str] = []
        for left in range(self.budget.retries, -1, -1):
            fault = self.faults.at(self._tries, contract.name)
            faults += [fault] if fault else []
            self._tries += 1
            result, is_passing = self._run(contract, call, fault)
            if result.is_ok or not is_passing or not left:
                break
        return result, tuple(faults)

    def _run(self, contract: ToolContract, call: ToolCall, fault: FaultKind | None) -> tuple[ToolResult, bool]:
        """One try, undone unless it is ``ok``; and whether another might end better."""
        if fault is not None and fault != "malformed":
            return _refused("failed", FAULT_REASONS[fault]), True
        mark = self.state.snapshot()
        result: ToolResult | None = None
        try:
            view = self.state.view(self.caller.tenant, can_write=contract.effect == "write")
            value = self.services[contract.name](contract, copy.deepcopy(dict(call.arguments)), self.caller, view)
            text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            result = self._accepted(contract, "<html>" + text if fault else text)
        except ToolRefusal as refusal:
            state = refusal.state if refusal.state in _REFUSED else "failed"
            return _refused(cast(ResultState, state), refusal.reason), False
        except Exception as error:  # whatever a service raises is its failure, not the dialogue's
            return _refused("failed", f"the service broke: {type(error).__name__}"), isinstance(error, OSError)
        finally:
            if result is None or not result.is_ok:
                self.state.rollback(mark)
        return result, fault is not None

    def _accepted(self, contract: ToolContract, text: str) -> ToolResult:
        """The service's answer, if it keeps the contract."""
        try:
            value = json.loads(text)
        except ValueError:
            return _refused("failed", FAULT_REASONS["malformed"])
        if problems := contract.result_validator.errors(value):
            return _refused("failed", f"the service broke its contract: {problems[0]}")
        if len(text) > self.budget.max_result_chars:
            limit = self.budget.max_result_chars
            return _refused("failed", f"the result has {len(text)} characters, at most {limit}: ask for less")
        return ToolResult(content=text, state="ok", value=value)

    def withhold(self, reason: str) -> None:
        """Put on record that an answer was withheld."""
        self.withheld += (reason,)

    @property
    def described(self) -> tuple[dict[str, Any], ...]:
        """The tools that this caller may call, as a model is shown them."""
        return self.registry.of(self.caller).described

    @property
    def trace(self) -> dict[str, Any]:
        """What happened, as JSON without times: the same session gives the same trace."""
        indices = {name: getattr(self.services[name], "index_digest", None) for name in self.registry.names}
        return {
            "registry": self.registry.digest,
            "indices": {name: digest for name, digest in indices.items() if digest is not None},
            "caller": {"tenant": self.caller.tenant, "name": self.caller.name},
            "records": [record.as_json for record in self.records],
            "withheld": list(self.withheld),
            "state": self.state.digest,
        }


def _refused(state: ResultState, reason: str) -> ToolResult:
    reason = reason[:_MAX_REASON]
    content = json.dumps({"error": state, "why": reason}, separators=(",", ":"), ensure_ascii=False)
    return ToolResult(content=content, state=state, reason=reason)
