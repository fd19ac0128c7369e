"""What stands around a model's weights, in full, so that a difference can be shown and not only told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from strop.digests import digest_json
from strop.evals.results import SuiteResult
from strop.types import Json

_DIGESTS = ("template", "tokenizer", "tools", "index")
_NOT_DECODING = {"samples_per_task"}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """One side of a comparison."""

    name: str
    """Whose they are, for the names of checks: a suite, or a folder."""
    weights: str
    """Identity of the weights; equal where nothing but the surroundings can have changed."""
    template: Json = field(default_factory=dict)
    """The template's lock (``ChatTemplate.lock``); empty where unknown."""
    tools: Mapping[str, Json] = field(default_factory=dict)
    """Name → ``ToolContract.as_json``, or the plain JSON function that a model is shown."""
    index: Json = field(default_factory=dict)
    """``digest``, and with ``probes`` what the index answered to a few queries (``replay_index``)."""
    decoding: Json = field(default_factory=dict)
    """The settings that answers are drawn with."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """``template``, ``tokenizer``, ``tools``, ``index``, where only those are known, or more than the parts show."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What further checks compare, by their name."""

    @property
    def digest(self) -> str:
        """Identity of all of it."""
        parts = [self.template, self.tools, self.index, self.decoding, self.digests, self.more]
        return digest_json([self.weights, *(dict(part) for part in parts)])


def surroundings_of(result: SuiteResult) -> Surroundings:
    """What stood around the weights when the suite was answered; told alike of results read back from disk."""
    parts: dict[str, Any] = json.loads(json.dumps(dict(result.surroundings), sort_keys=True))
    known = ("template", "tools", "index", "weights")
    return Surroundings(
        name=result.name,
        weights=str(parts.get("weights") or result.digests["model"]),
        template=parts.get("template") or {},
        tools=parts.get("tools") or {},
        index=parts.get("index") or {},
        decoding={key: value for key, value in sorted(result.params.items()) if key not in _NOT_DECODING},
        digests={
            key: value for key in ("template", "tokenizer", "tools", "index") if (value := result.digests.get(key))
        },
        more={key: value for key, value in parts.items() if key not in known},
    )
