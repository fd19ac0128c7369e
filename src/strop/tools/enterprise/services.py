"""The mock ERP, budget, exchange-rate and policy services: what cannot be so is refused with its reason."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

from strop.errors import ToolRefusal
from strop.tools.contracts import Caller, ToolContract
from strop.tools.enterprise.books import quarter_of
from strop.tools.state import StateView
from strop.types import Json


def query_erp(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """Spending up to today. Refuses a quarter that has not begun, and an unknown department."""
    department, quarter = arguments["department"], arguments["quarter"]
    if quarter > quarter_of(state.today):
        raise ToolRefusal(f"{quarter} lies in the future: today is {state.today}")
    row = _row(state, "spending", f"{department}/{quarter}", f"no spending of {department} in {quarter} is known")
    return {"spent": row["spent"], "source": f"erp/{department}/{quarter}"}


def get_budget(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """The plan, also of quarters to come. Refuses what was not planned."""
    department, quarter = arguments["department"], arguments["quarter"]
    row = _row(state, "budgets", f"{department}/{quarter}", f"no budget of {department} for {quarter} is known")
    return {"budget": row["budget"], "source": f"budget/{department}/{quarter}"}


def get_rate(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """The day's cross rate by way of the euro, to four places. Refuses a future day, and one before the records."""
    day = day_of(arguments.get("date", state.today.isoformat()))
    if day > state.today:
        raise ToolRefusal(f"{day} lies in the future: today is {state.today}")
    base, quote = arguments["base"], arguments["quote"]
    sides = [_row(state, "rates", f"{c}/{day}", f"no rate of {c} on {day} is known")["per_euro"] for c in (base, quote)]
    scaled = round(Fraction(sides[1], sides[0]) * 10_000)
    text = f"{scaled // 10_000}.{scaled % 10_000:04}"
    return {"rate": text, "date": day.isoformat(), "source": f"fx/{base}{quote}/{day}"}


def get_policy(contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
    """The tenant's rule. Refuses a topic without one."""
    topic = arguments["topic"]
    row = _row(state, "policies", topic, f"there is no rule on {topic}")
    return {"rule": row["rule"], "source": f"policy/{topic}"}


def day_of(text: str) -> date:
    """The calendar day. Raises: ToolRefusal (``invalid_arguments``) for text that is none."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ToolRefusal(f"{text} is no day", state="invalid_arguments") from error


def _row(state: StateView, table: str, key: str, otherwise: str) -> dict[str, Any]:
    row = state.get(table, key)
    if row is None:
        raise ToolRefusal(otherwise)
    return row
