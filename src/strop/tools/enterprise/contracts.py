"""The contracts of the mock enterprise's tools, and which roles may call which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strop.tools.contracts import Effect, ToolContract, ToolRegistry
from strop.types import Json

_TEXT: Json = {"type": "string", "minLength": 1, "maxLength": 80}
_DATE: Json = {"type": "string", "format": "date"}
_QUARTER: Json = {"type": "string", "pattern": "^[0-9]{4}-Q[1-4]$"}
_CURRENCY: Json = {"type": "string", "pattern": "^[A-Z]{3}$"}
_ACCOUNT: Json = {"type": "string", "pattern": "^acc-[0-9]{4}$"}
_WHOLE: Json = {"type": "integer"}
_SOURCED: Json = {"source": {"type": "string"}}


def _object(properties: Mapping[str, Json], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


def _tool(
    name: str,
    description: str,
    parameters: Mapping[str, Json],
    returns: Mapping[str, Json],
    permission: str,
    effect: Effect = "read",
    optional: tuple[str, ...] = (),
) -> ToolContract:
    return ToolContract(
        name=name,
        description=description,
        parameters=_object(parameters, optional),
        returns=_object({**returns, **_SOURCED}),
        effect=effect,
        permission=permission,
    )


_PAYMENT = {"due": _DATE, "party": _TEXT, "amount": {"type": "integer", "minimum": 1}, **_SOURCED}
_STATUS: Json = {"enum": ["prepared", "awaiting_approval", "approved"]}

ENTERPRISE = ToolRegistry(
    [
        _tool(
            "query_erp",
            "What a department has spent in a quarter.",
            {"department": _TEXT, "quarter": _QUARTER},
            {"spent": _WHOLE},
            "erp.read",
        ),
        _tool(
            "get_budget",
            "Budget of a department for a quarter.",
            {"department": _TEXT, "quarter": _QUARTER},
            {"budget": _WHOLE},
            "budget.read",
        ),
        _tool(
            "get_balance",
            "Balance of an account today.",
            {"account": _ACCOUNT},
            {"balance": _WHOLE, "currency": _CURRENCY},
            "treasury.read",
        ),
        _tool(
            "forecast_cash",
            "Expected receipts and payments of an account from today to a day, its lowest balance, and its minimum.",
            {"account": _ACCOUNT, "until": _DATE},
            {
                "balance": _WHOLE,
                "receipts": {"type": "array", "items": _object(_PAYMENT)},
                "payments": {"type": "array", "items": _object(_PAYMENT)},
                "lowest": _WHOLE,
                "lowest_on": _DATE,
                "minimum": _WHOLE,
                "is_short": {"type": "boolean"},
            },
            "treasury.read",
        ),
        _tool(
            "get_rate",
            "Units of the quote currency for one of the base currency on a day, today if none is given.",
            {"base": _CURRENCY, "quote": _CURRENCY, "date": _DATE},
            {"rate": {"type": "string", "pattern": r"^[0-9]+\.[0-9]{4}$"}, "date": _DATE},
            "fx.read",
            optional=("date",),
        ),
        _tool("get_policy", "A rule of the house.", {"topic": _TEXT}, {"rule": {"type": "string"}}, "policy.read"),
        _tool(
            "create_transfer",
            "Prepare a transfer to a vendor; above the limit it waits for a second person.",
            {
                "account": _ACCOUNT,
                "vendor": _TEXT,
                "amount": {"type": "integer", "minimum": 1},
                "currency": _CURRENCY,
                "date": _DATE,
            },
            {"transfer": {"type": "string"}, "status": _STATUS},
            "treasury.write",
            "write",
        ),
        _tool(
            "approve_transfer",
            "Approve a transfer that someone else prepared.",
            {"transfer": {"type": "string", "pattern": "^tr-[0-9]{4}$"}},
            {"transfer": {"type": "string"}, "status": _STATUS},
            "treasury.approve",
            "write",
        ),
    ]
)

_READ = frozenset({"erp.read", "budget.read", "treasury.read", "fx.read", "policy.read", "documents.read"})
ROLES: Mapping[str, frozenset[str]] = {
    "employee": frozenset({"policy.read", "documents.read"}),
    "analyst": _READ,
    "treasurer": _READ | {"treasury.write"},
    "approver": _READ | {"treasury.approve"},
}
"""Role → permissions. Nobody both prepares and approves by role, and no caller may approve its own transfer."""
