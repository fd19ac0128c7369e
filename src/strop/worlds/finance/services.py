"""The tools of the finance world: their contracts as JSON Schema, and deterministic mock services behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from strop.types import Json, ToolCall
from strop.worlds.finance.entities import DEPARTMENTS, POLICIES, QUARTERS, REGIONS


def _tool(name: str, description: str, properties: Mapping[str, Any]) -> Json:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


_DEPARTMENT = {"type": "string", "enum": list(DEPARTMENTS)}
_REGION = {"type": "string", "enum": list(REGIONS)}
_QUARTER = {"type": "string", "enum": list(QUARTERS)}

TOOLS: tuple[Json, ...] = (
    _tool(
        "query_erp", "Spending of a department.", {"department": _DEPARTMENT, "region": _REGION, "quarter": _QUARTER}
    ),
    _tool("get_budget", "Budget of a department.", {"department": _DEPARTMENT, "quarter": _QUARTER}),
    _tool("get_balance", "Balance of an account.", {"account": {"type": "string", "pattern": "^acc-[0-9]{4}$"}}),
    _tool("get_policy", "A rule of the house.", {"topic": {"type": "string", "enum": list(POLICIES)}}),
    _tool(
        "create_transfer",
        "Prepare a transfer; above the tenant's limit it needs a second approval.",
        {
            "vendor": {"type": "string", "minLength": 1},
            "amount": {"type": "integer", "minimum": 1},
            "approval": {"type": "string", "enum": ["single", "second"]},
        },
    ),
)
VALIDATORS = {tool["function"]["name"]: Draft202012Validator(tool["function"]["parameters"]) for tool in TOOLS}
"""Tool name → validator of its arguments."""


def _number(*parts: object) -> int:
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return 1000 + int.from_bytes(digest[:4], "big") % 9000


def execute(call: ToolCall, *, tenant: str = "bank_A") -> str:
    """What the mock service answers, as compact JSON; an error object for a call that breaks the contract.

    The same tenant and arguments always give the same answer.
    """
    if call.name not in VALIDATORS:
        return json.dumps({"error": f"no tool {call.name}"})
    for error in VALIDATORS[call.name].iter_errors(dict(call.arguments)):
        return json.dumps({"error": error.message[:80]})
    if call.name == "get_policy":
        return json.dumps({"rule": POLICIES[call.arguments["topic"]]})
    if call.name == "create_transfer":
        return json.dumps({"status": "prepared"})
    field = {"query_erp": "spent", "get_budget": "budget", "get_balance": "balance"}[call.name]
    return json.dumps({field: _number(tenant, call.name, *sorted(call.arguments.items()))})
