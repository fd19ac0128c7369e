"""Tools: versioned contracts, and sessions that check, bound and record every call.

``ToolSession(registry, services, state=..., caller=...).call(ToolCall(...))`` answers a call of a model. Beside it: the
calculator, the search over an index, a mock enterprise (``strop.tools.enterprise``), the selection of tools by their
descriptions, and what an answer's claims rest on.
"""

from strop.tools.calculator import CALCULATOR, calculate, serve_calculator
from strop.tools.contracts import Caller, ToolContract, ToolRegistry
from strop.tools.evidence import Claim, Evidence, Grounding, citations, evidence_of, ground
from strop.tools.faults import FAULT_KINDS, Faults
from strop.tools.figures import figures
from strop.tools.index import Hit, IndexedDocument, SearchIndex
from strop.tools.lock import check_tools, lock_tools
from strop.tools.recovery import Recovery, recovery_of
from strop.tools.retrieval import SEARCH, SearchService, ToolIndex
from strop.tools.session import Budget, Service, ToolRecord, ToolResult, ToolSession
from strop.tools.state import SHARED, StateView, WorldState
from strop.tools.tool_first import ToolFirst
from strop.tools.trajectory import TRAJECTORY_SCHEMA, trajectory, trajectory_errors

__all__ = [
    "CALCULATOR",
    "FAULT_KINDS",
    "SEARCH",
    "SHARED",
    "TRAJECTORY_SCHEMA",
    "Budget",
    "Caller",
    "Claim",
    "Evidence",
    "Faults",
    "Grounding",
    "Hit",
    "IndexedDocument",
    "Recovery",
    "SearchIndex",
    "SearchService",
    "Service",
    "StateView",
    "ToolContract",
    "ToolFirst",
    "ToolIndex",
    "ToolRecord",
    "ToolRegistry",
    "ToolResult",
    "ToolSession",
    "WorldState",
    "calculate",
    "check_tools",
    "citations",
    "evidence_of",
    "figures",
    "ground",
    "lock_tools",
    "recovery_of",
    "serve_calculator",
    "trajectory",
    "trajectory_errors",
]
