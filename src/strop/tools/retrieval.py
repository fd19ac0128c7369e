"""Search as a tool: the contract, the service over an index, and the selection of tools by their own descriptions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from strop.tools.contracts import Caller, ToolContract, ToolRegistry
from strop.tools.index import IndexedDocument, SearchIndex
from strop.tools.state import StateView
from strop.types import Json

_MAX_TEXT = 600

SEARCH = ToolContract(
    name="search",
    description="Documents of the house for a few words; cite them as [source].",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": 400},
            "k": {"type": "integer", "minimum": 1, "maximum": 10},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    returns={
        "type": "object",
        "properties": {
            "documents": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"source": {"type": "string"}, "text": {"type": "string"}},
                    "required": ["source", "text"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["documents"],
        "additionalProperties": False,
    },
    permission="documents.read",
)


@dataclass(frozen=True, kw_only=True)
class SearchService:
    """Answers ``SEARCH`` from an index: the best documents that the caller may read; none is an empty list."""

    index: SearchIndex
    k: int = 3
    """How many documents, where the call does not say."""

    @property
    def index_digest(self) -> str:
        """Of the index that is searched: it stands on every record and trace."""
        return self.index.index_digest

    def __call__(self, contract: ToolContract, arguments: Json, caller: Caller, state: StateView) -> dict[str, Any]:
        """``{"documents": [{"source": id, "text": …}]}``, each text cut at 600 characters."""
        hits = self.index.search(arguments["query"], caller, k=arguments.get("k", self.k))
        found = [{"source": hit.document.id, "text": _shown(hit.document)} for hit in hits]
        return {"documents": found}


def _shown(document: IndexedDocument) -> str:
    text = f"{document.title}: {document.text}" if document.title else document.text
    return text[:_MAX_TEXT]


@dataclass(frozen=True, kw_only=True)
class ToolIndex:
    """Finds tools by what their contracts say, so that a model is shown few of many.

    A tool is found by the words of its name, its description, and its parameters' names, descriptions and options.
    """

    registry: ToolRegistry
    _indices: dict[tuple[str, ...], SearchIndex] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def index_digest(self) -> str:
        """Identity of what is searched."""
        return self._over(self.registry).index_digest

    def select(self, query: str, caller: Caller, *, k: int = 5) -> ToolRegistry:
        """The registry of the ``k`` tools that fit ``query`` best among those that the caller may call."""
        allowed = self.registry.of(caller)
        return allowed.only([hit.document.id for hit in self._over(allowed).search(query, caller, k=k)])

    def _over(self, registry: ToolRegistry) -> SearchIndex:
        """The index of exactly these tools: nobody's ranking depends on tools that it may not call."""
        if registry.names not in self._indices:
            self._indices[registry.names] = SearchIndex([_document(contract) for contract in registry])
        return self._indices[registry.names]


def _document(contract: ToolContract) -> IndexedDocument:
    words = [contract.description]
    for name, schema in contract.parameters.get("properties", {}).items():
        words += [name.replace("_", " ")]
        if isinstance(schema, dict):
            words += [str(schema.get("description", "")), *map(str, schema.get("enum", ()))]
    return IndexedDocument(id=contract.name, title=contract.name.replace("_", " "), text=" ".join(words))
