"""The contract test: a lock file of the contracts that others rely on, and what happens when one changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from strop.errors import MismatchError
from strop.files import write_json
from strop.tools.compatibility import ContractChange, contract_changes
from strop.tools.contracts import ToolRegistry

TOOLS_LOCK_NAME = "tools.lock.json"


def lock_tools(registry: ToolRegistry, path: Path | str) -> tuple[ContractChange, ...]:
    """Write the lock of ``registry``; what changed since the lock that stood there.

    Raises: MismatchError if a contract changed without the rise of its version that the change demands; OutputError.
    """
    path = Path(path)
    found = _contracts(registry)
    changes = contract_changes(_read(path), found) if path.exists() else ()
    _require([change for change in changes if not change.is_announced], path, do="raise the versions, then lock again")
    write_json(path, {"registry": registry.digest, "contracts": found})
    return changes


def check_tools(
    registry: ToolRegistry, path: Path | str, *, accept: Literal["same", "compatible"] = "same"
) -> tuple[ContractChange, ...]:
    """What changed since the lock: nothing, or with ``accept="compatible"`` announced changes that break nobody.

    Raises: MismatchError for any other change, or for a lock that cannot be read.
    """
    path = Path(path)
    changes = contract_changes(_read(path), _contracts(registry))
    refused = [change for change in changes if accept == "same" or change.kind == "breaking" or not change.is_announced]
    _require(refused, path, do="restore the contracts, or raise their versions and lock them again")
    return changes


def _contracts(registry: ToolRegistry) -> dict[str, Any]:
    return {contract.name: contract.as_json for contract in registry}


def _read(path: Path) -> dict[str, Any]:
    try:
        contracts = json.loads(path.read_text(encoding="utf-8"))["contracts"]
        return {str(name): dict(contract) for name, contract in contracts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MismatchError(
            "the lock file of the tools cannot be read", where=str(path), why=str(error), do="restore it, or lock anew"
        ) from error


def _require(refused: list[ContractChange], path: Path, *, do: str) -> None:
    if refused:
        raise MismatchError(
            f"the contracts of {len(refused)} tools are not those of the lock",
            where=str(path),
            why="\n".join(map(str, refused)),
            do=do,
        )
