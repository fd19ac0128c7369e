"""A mock enterprise: ERP, treasury, budget, exchange rates and policies over one deterministic world.

``ToolSession(ENTERPRISE, SERVICES, state=open_books(seed), caller=caller)``; a caller's permissions are those of one of
``ROLES``.
"""

from collections.abc import Mapping

from strop.tools.enterprise.books import open_books
from strop.tools.enterprise.contracts import ENTERPRISE, ROLES
from strop.tools.enterprise.services import get_budget, get_policy, get_rate, query_erp
from strop.tools.enterprise.treasury import approve_transfer, create_transfer, forecast_cash, get_balance
from strop.tools.session import Service

SERVICES: Mapping[str, Service] = {
    "query_erp": query_erp,
    "get_budget": get_budget,
    "get_balance": get_balance,
    "forecast_cash": forecast_cash,
    "get_rate": get_rate,
    "get_policy": get_policy,
    "create_transfer": create_transfer,
    "approve_transfer": approve_transfer,
}
"""Tool → what stands behind it."""

__all__ = ["ENTERPRISE", "ROLES", "SERVICES", "open_books"]
