"""The world behind the tools: tables of rows by tenant and one pinned day, deterministic, with undo."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from strop.digests import digest_json
from strop.errors import ToolError, ToolRefusal
from strop.types import Json

SHARED = ""
"""The tenant of what all tenants may read and none may change: exchange rates, holidays."""

_Place = tuple[str, str, str]


class WorldState:
    """Rows (JSON objects) by tenant, table and key, and the day that it is.

    Rows are copied in and out, so that nothing changes but through ``put`` and ``remove``; every change can be undone.
    """

    def __init__(self, *, today: date, rows: Mapping[str, Mapping[str, Mapping[str, Json]]] | None = None) -> None:
        """``rows`` is tenant → table → key → row. Raises: ToolError for a row that is not a JSON object."""
        self.today = today
        self._rows: dict[_Place, dict[str, Any]] = {}
        self._undo: list[tuple[_Place, dict[str, Any] | None]] = []
        for tenant, tables in (rows or {}).items():
            for table, content in tables.items():
                for key, row in content.items():
                    self.put(tenant, table, key, row)
        self._undo.clear()

    def put(self, tenant: str, table: str, key: str, row: Json) -> None:
        """Write a row, new or in the place of another. Raises: ToolError if it is not a JSON object."""
        try:
            digest_json(dict(row))
        except (TypeError, ValueError) as error:
            raise ToolError(f"the row {key} of {table} is not JSON", why=str(error), do="store JSON values") from error
        self._keep((tenant, table, key))
        self._rows[tenant, table, key] = copy.deepcopy(dict(row))

    def remove(self, tenant: str, table: str, key: str) -> None:
        """Take a row away. Raises: KeyError if it is not there."""
        if (tenant, table, key) not in self._rows:
            raise KeyError(f"{table}/{key}")
        self._keep((tenant, table, key))
        del self._rows[tenant, table, key]

    def get(self, tenant: str, table: str, key: str) -> dict[str, Any] | None:
        """A copy of the row, or None."""
        return copy.deepcopy(self._rows.get((tenant, table, key)))

    def rows(self, tenant: str, table: str) -> dict[str, dict[str, Any]]:
        """Copies of a table's rows by key, sorted by key."""
        keys = sorted(key for owner, name, key in self._rows if (owner, name) == (tenant, table))
        return {key: copy.deepcopy(self._rows[tenant, table, key]) for key in keys}

    def _keep(self, place: _Place) -> None:
        self._undo.append((place, self._rows.get(place)))

    def snapshot(self) -> int:
        """A mark to which ``rollback`` can return, as long as no earlier one was returned to."""
        return len(self._undo)

    def rollback(self, mark: int) -> None:
        """Undo every change since ``mark``. Raises: ToolError for a mark that lies ahead."""
        if not 0 <= mark <= len(self._undo):
            raise ToolError(f"the world cannot return to mark {mark}", why=f"it stands at {len(self._undo)}")
        while len(self._undo) > mark:
            place, row = self._undo.pop()
            if row is None:
                del self._rows[place]
            else:
                self._rows[place] = row

    def copy(self) -> WorldState:
        """The same world, on its own from here on; it cannot be rolled back behind this point."""
        other = WorldState(today=self.today)
        other._rows = dict(self._rows)  # a row is replaced, never changed
        return other

    @property
    def digest(self) -> str:
        """Identity of the day and all rows, however they came to be."""
        return digest_json([self.today.isoformat(), sorted([*place, row] for place, row in self._rows.items())])

    def view(self, tenant: str, *, can_write: bool) -> StateView:
        """What a service sees when it acts for ``tenant``."""
        return StateView(tenant=tenant, can_write=can_write, _state=self)


@dataclass(frozen=True, kw_only=True)
class StateView:
    """One tenant's rows and what all share: a service holds no key to anyone else's."""

    tenant: str
    can_write: bool
    _state: WorldState = field(repr=False)

    @property
    def today(self) -> date:
        """The day that it is."""
        return self._state.today

    def get(self, table: str, key: str) -> dict[str, Any] | None:
        """A copy of the tenant's row, else of the shared one, else None."""
        row = self._state.get(self.tenant, table, key)
        return self._state.get(SHARED, table, key) if row is None else row

    def rows(self, table: str) -> dict[str, dict[str, Any]]:
        """Copies of the shared and the tenant's rows by key, sorted; the tenant's own stands before a shared one."""
        return dict(sorted({**self._state.rows(SHARED, table), **self._state.rows(self.tenant, table)}.items()))

    def put(self, table: str, key: str, row: Json) -> None:
        """Write a row of the tenant. Raises: ToolRefusal for a tool that only reads."""
        self._check_write()
        self._state.put(self.tenant, table, key, row)

    def remove(self, table: str, key: str) -> None:
        """Take a row of the tenant away. Raises: KeyError if it has none; ToolRefusal for a tool that only reads."""
        self._check_write()
        self._state.remove(self.tenant, table, key)

    def _check_write(self) -> None:
        if not self.can_write:
            raise ToolRefusal("a tool that only reads tried to change the world", state="failed")
