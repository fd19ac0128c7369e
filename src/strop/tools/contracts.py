"""A tool as a contract: name, version, JSON Schemas of what goes in and comes out, and who may call it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from strop.digests import digest_json
from strop.errors import ConstraintError, ToolError
from strop.types import Json

if TYPE_CHECKING:
    from strop.constraints import SchemaValidator

Effect = Literal["read", "write"]
Version = tuple[int, int, int]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """On whose behalf a model calls tools: set by the program, never read from the model's text.

    Raises: ToolError without a tenant.
    """

    tenant: str
    permissions: frozenset[str] = frozenset()
    name: str = "user"
    """Who it is, where a rule names people: whoever asks for a transfer does not approve it."""

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ToolError("a caller has no tenant", why="its rights and data are the tenant's", do="name the tenant")


@dataclass(frozen=True, kw_only=True)
class ToolContract:
    """What a tool promises, and on what terms.

    Raises: ToolError for a name or version that is none, or a schema that is not JSON Schema or not of an object.
    """

    name: str
    description: str
    parameters: Json
    """JSON Schema of the arguments, of type object."""
    returns: Json = field(default_factory=dict)
    """JSON Schema of the result; a service that answers anything else has failed."""
    effect: Effect = "read"
    """``read`` tools cannot change the world."""
    permission: str = ""
    """What the caller must hold; empty: anyone of an admitted tenant may call."""
    tenants: tuple[str, ...] | None = None
    """Tenants that have the tool; None: all."""
    tenant_argument: str = ""
    """The argument that names a tenant, if one does: it must then be the caller's own."""
    version: str = "1.0.0"
    """Major: calls or results that were right may be wrong now; minor: more is possible; patch: other words."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ToolError(f"{self.name!r} is no name for a tool", do="use letters, digits, _ and -, at most 64")
        if not _VERSION.fullmatch(self.version):
            raise ToolError(f"{self.name} has the version {self.version!r}", do='write three numbers, as in "1.2.0"')
        if self.effect not in ("read", "write"):
            raise ToolError(f"{self.name} has the effect {self.effect!r}", do="write read or write")
        if self.parameters.get("type") != "object":
            raise ToolError(
                f"the parameters of {self.name} are not those of an object",
                why="a call's arguments are an object",
                do='give a schema with "type": "object"',
            )

    @property
    def described(self) -> dict[str, Any]:
        """What a model is shown: ``{"type": "function", "function": {...}}``."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    @property
    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "parameters": dict(self.parameters),
            "returns": dict(self.returns),
            "effect": self.effect,
            "permission": self.permission,
            "tenants": None if self.tenants is None else sorted(self.tenants),
            "tenant_argument": self.tenant_argument,
        }

    @cached_property
    def digest(self) -> str:
        """Identity of the contract: every field, whatever the order of keys and tenants."""
        return digest_json(self.as_json)

    @property
    def semver(self) -> Version:
        """The version's three numbers."""
        major, minor, patch = map(int, self.version.split("."))
        return major, minor, patch

    @cached_property
    def arguments_validator(self) -> SchemaValidator:
        """Judges arguments. Raises: ToolError."""
        return _validator(self.parameters, f"the parameters of {self.name}")

    @cached_property
    def result_validator(self) -> SchemaValidator:
        """Judges results. Raises: ToolError."""
        return _validator(self.returns, f"the result of {self.name}")

    def why_not(self, caller: Caller) -> str:
        """Why ``caller`` may not call the tool at all; empty if it may."""
        if self.tenants is not None and caller.tenant not in self.tenants:
            return f"{self.name} is not a tool of this tenant"
        if self.permission and self.permission not in caller.permissions:
            return f"{self.name} needs the permission {self.permission}"
        return ""


def _validator(schema: Json, subject: str) -> SchemaValidator:
    from strop.constraints import SchemaValidator

    try:
        return SchemaValidator(schema)
    except ConstraintError as error:
        raise ToolError(f"{subject} have no valid schema: {error.what}", why=error.why, do=error.do) from error


@dataclass(frozen=True)
class ToolRegistry:
    """Tools by name, in the order in which models are shown them. Raises: ToolError if a name stands twice."""

    contracts: tuple[ToolContract, ...]

    def __init__(self, contracts: Sequence[ToolContract]) -> None:
        object.__setattr__(self, "contracts", tuple(contracts))
        names = [contract.name for contract in self.contracts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ToolError(f"the registry has two tools named {twice[0]}", do="rename one, or drop the older version")

    @cached_property
    def digest(self) -> str:
        """Identity of the set of contracts, whatever their order."""
        return digest_json(sorted(contract.digest for contract in self.contracts))

    @property
    def described(self) -> tuple[dict[str, Any], ...]:
        """What a model is shown, in order."""
        return tuple(contract.described for contract in self.contracts)

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, in order."""
        return tuple(contract.name for contract in self.contracts)

    def get(self, name: str) -> ToolContract | None:
        """The contract of ``name``, or None."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, ToolContract]:
        return {contract.name: contract for contract in self.contracts}

    def only(self, names: Sequence[str]) -> ToolRegistry:
        """The registry of ``names``, in their order. Raises: ToolError for a name that it does not have."""
        if missing := [name for name in names if name not in self._by_name]:
            raise ToolError(f"the registry has no tool {missing[0]}", do=f"choose from {', '.join(self._by_name)}")
        return ToolRegistry([self._by_name[name] for name in names])

    def of(self, caller: Caller) -> ToolRegistry:
        """The registry of what ``caller`` may call."""
        return ToolRegistry([contract for contract in self.contracts if not contract.why_not(caller)])

    def __iter__(self) -> Iterator[ToolContract]:
        return iter(self.contracts)

    def __len__(self) -> int:
        return len(self.contracts)
