"""From which failure of an evaluation a row was made: written beside it, and kept behind the place it is read from.

A row's ``lineage`` column is an object such as ``{"suite": "finance", "item": "finance/test/0/7", "result": "…"}``. It
never changes what is trained: data digests leave the source out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from strop.types import Conversation, Json, Preference, Task

_R = TypeVar("_R", bound=Conversation | Preference | Task)
_MARK = " < failure "
COLUMN = "lineage"


def with_lineage(row: _R, lineage: Json) -> _R:
    """The row with ``lineage`` behind its source, in place of an older one."""
    place = row.source.partition(_MARK)[0]
    return replace(row, source=f"{place}{_MARK}{json.dumps(dict(lineage), sort_keys=True, ensure_ascii=False)}")


def lineage_of(row: Any) -> dict[str, Any] | None:
    """The failure that the row was made from; None if it was not made from one."""
    _, mark, told = str(getattr(row, "source", "")).partition(_MARK)
    if not mark:
        return None
    found: dict[str, Any] = json.loads(told)
    return found


def lineage_in(values: Mapping[str, Any]) -> Json | None:
    """The ``lineage`` column of a row as it was read; None if it has none, or one that is not ours."""
    found = values.get(COLUMN)
    if not isinstance(found, dict):
        return None
    told = [found.get("suite"), found.get("item"), found.get("result"), found.get("model", "")]
    return found if all(isinstance(value, str) for value in told) else None


def is_written(values: Mapping[str, Any]) -> bool:
    """Whether the row is a task that strop wrote: with its lineage, and its reference in a column of its own."""
    return lineage_in(values) is not None and isinstance(values.get("reference"), dict)


def told_lineage(rows: Iterable[Any]) -> dict[str, str]:
    """Suite and model → how many of the rows were made from which failures, in words."""
    found = [lineage for row in rows if (lineage := lineage_of(row)) is not None]
    groups = Counter((one["suite"], one.get("model", ""), one["result"]) for one in found)
    return {
        f"failures on {suite} of model {str(model)[:12]}": f"{count} rows from "
        f"{len({one['item'] for one in found if (one['suite'], one['result']) == (suite, result)})} "
        f"failed items of result {str(result)[:12]}"
        for (suite, model, result), count in groups.items()
    }
