"""Tools: versioned contracts, and sessions that check, bound and record every call.

``ToolSession(registry, services, state=..., caller=...).call(ToolCall(...))`` answers a call of a model.
"""

from strop.tools.contracts import Caller, ToolContract, ToolRegistry
from strop.tools.faults import FAULT_KINDS, Faults
from strop.tools.session import Budget, Service, ToolRecord, ToolResult, ToolSession
from strop.tools.state import SHARED, StateView, WorldState

__all__ = [
    "FAULT_KINDS",
    "SHARED",
    "Budget",
    "Caller",
    "Faults",
    "Service",
    "StateView",
    "ToolContract",
    "ToolRecord",
    "ToolRegistry",
    "ToolResult",
    "ToolSession",
    "WorldState",
]
