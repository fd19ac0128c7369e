"""Replaying queries against a retrieval index: what it answers now, to be held against what it answered before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from strop.digests import digest_bytes
from strop.errors import MismatchError, ToolError
from strop.evals.results import SuiteResult
from strop.files import write_json
from strop.tools.contracts import Caller
from strop.tools.index import Hit
from strop.types import Json

INDEX_LOCK_NAME = "index.lock.json"


class Index(Protocol):
    """What can be replayed: ``SearchIndex``, and whatever searches as it does."""

    index_digest: str

    def search(self, query: str, caller: Caller, *, k: int = 3) -> Sequence[Hit]:
        """The best documents, best first."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A query that somebody asks."""

    query: str
    caller: Caller
    k: int = 3

    @property
    def key(self) -> str:
        """Which probe it is, in a record: two callers may ask the same."""
        rights = ",".join(sorted(self.caller.permissions))
        return f"{self.query} (as {self.caller.tenant}{f' with {rights}' if rights else ''}, k={self.k})"


def replay_index(
    index: Index, probes: Sequence[Probe], *, answer: Callable[[Probe, Sequence[Hit]], str] | None = None
) -> dict[str, Any]:
    """``{"digest": …, "probes": {probe: {"hits": [[id, digest of its text], …], "answer": …}}}``, as JSON.

    ``answer`` makes an answer of what was found (a model, a rule); without it the hits stand for themselves. Scores are
    left out: they move with every document, and only the documents are read. Raises: ToolError for a probe that stands
    twice, and without any.
    """
    keys = [probe.key for probe in probes]
    if not probes or len(set(keys)) < len(keys):
        twice = next((key for key in keys if keys.count(key) > 1), None)
        what = "there is no probe to replay" if twice is None else f"the probe {twice!r} stands twice"
        raise ToolError(what, do="give queries that users really ask, each once")
    found: dict[str, Any] = {}
    for probe in probes:
        hits = index.search(probe.query, probe.caller, k=probe.k)
        found[probe.key] = {"hits": [[hit.document.id, _content(hit)] for hit in hits]}
        if answer is not None:
            found[probe.key]["answer"] = answer(probe, hits)
    return {"digest": index.index_digest, "probes": found}


def _content(hit: Hit) -> str:
    return digest_bytes(f"{hit.document.title}\n{hit.document.text}".encode())[:12]


def changed_probes(before: Json, after: Json) -> dict[str, str]:
    """The probes of both records that are answered differently → how; those of one record only do not count."""
    old, new = before.get("probes") or {}, after.get("probes") or {}
    return {key: told for key in old if key in new and (told := _told(old[key], new[key]))}


def _told(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old.get("answer") != new.get("answer"):
        return f"answered {old.get('answer')!r}, now {new.get('answer')!r}"
    was, now = [tuple(hit) for hit in old["hits"]], [tuple(hit) for hit in new["hits"]]
    if was == now:
        return ""
    ids, found = [hit[0] for hit in was], [hit[0] for hit in now]
    if ids != found:
        return f"found {', '.join(ids) or 'nothing'}; now {', '.join(found) or 'nothing'}"
    rewritten = [one[0] for one, other in zip(was, now, strict=True) if one != other]
    return f"finds the same documents, with another text in {', '.join(rewritten)}"


def with_index(result: SuiteResult, record: Json) -> SuiteResult:
    """The result with what its index answered to probes (``replay_index``), for the gate's drift check.

    Raises: MismatchError if the suite was evaluated with another index.
    """
    asked = result.digests.get("index") or record["digest"]
    if asked != record["digest"]:
        raise MismatchError(
            f"suite {result.name} was not evaluated with this index",
            why=f"the result says {asked[:12]}, the index {str(record['digest'])[:12]}",
            do="replay the index that the suite's evidence came from",
        )
    return replace(result, surroundings={**result.surroundings, "index": dict(record)})


def lock_index(index: Index, probes: Sequence[Probe], folder: Path | str) -> Path:
    """Write what the index answers into ``folder``, for ``strop drift``. Raises: ToolError, OutputError."""
    path = Path(folder) / INDEX_LOCK_NAME
    write_json(path, replay_index(index, probes))
    return path
