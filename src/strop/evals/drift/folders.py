"""Drift between two folders, models or results: a standing check that needs no suite, for CI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError, ModelError, TemplateError
from strop.evals.drift.checks import CHECKS, DriftCheck, find_drift
from strop.evals.drift.replay import INDEX_LOCK_NAME
from strop.evals.drift.surroundings import Surroundings, surroundings_of
from strop.evals.drift.weights import read_object, weights_digest
from strop.evals.results import load_all, result_names
from strop.models import names
from strop.models.folders import find_base
from strop.tools.lock import TOOLS_LOCK_NAME
from strop.types import Check, Json

_VOLATILE = frozenset({"transformers_version", "_from_model_config", "_commit_hash"})


def folder_surroundings(name: str | Path) -> Surroundings:
    """What stands around the weights of a model or adapter folder, a release's copy, or ``strop:tiny``.

    The template is what the folder's files really render, not what its lock says. Contracts are those of
    ``tools.lock.json`` (``tools.lock_tools``), the index that of ``index.lock.json`` (``lock_index``), where they lie
    in the folder. Raises: ModelError, TemplateError.
    """
    _require_here(name)
    folder = names.local_folder(name)
    base = folder
    if names.is_adapter(folder):
        found = find_base(folder, read_object(folder / "adapter_config.json")).folder
        assert found is not None, "find_base answers with a folder or raises"
        base = found
    brings = (folder / "tokenizer_config.json").is_file() or (folder / "tokenizer.json").is_file()
    lock = _template_lock(folder if brings else base)
    tools, index = _optional(folder / TOOLS_LOCK_NAME), _optional(folder / INDEX_LOCK_NAME)
    contracts: Mapping[str, Json] = tools.get("contracts") or {}
    return Surroundings(
        name=Path(str(name)).name or str(name),
        weights=weights_digest(folder),
        template=lock,
        tools=contracts,
        index=index,
        decoding=_decoding(base),
        digests={
            "template": digest_json(lock),
            "tokenizer": lock["tokenizer"],
            "tools": digest_json(sorted(map(digest_json, contracts.values()))),
            "index": str(index.get("digest", "")),
        },
    )


def _require_here(name: str | Path) -> None:
    """Refuse what is no folder and not in the hub's cache: a slip of the pen is no reason to ask the hub."""
    found = names.resolve(name)
    if isinstance(found, Path):
        return
    from huggingface_hub import try_to_load_from_cache

    try:
        kept = [try_to_load_from_cache(found, file) for file in ("config.json", "adapter_config.json")]
    except ValueError:  # no name that the hub could have
        kept = []
    if not any(isinstance(path, str) for path in kept):
        raise ModelError(
            f"there is no folder {found}",
            why="nor is it a model of the hub that lies in the cache on this machine",
            do="check the path; a model of the hub is downloaded first, with `hf download`",
        )


def _template_lock(folder: Path) -> dict[str, Any]:
    """The lock of what the folder's tokenizer and template do now; a lock file that says otherwise is not asked."""
    from transformers import AutoTokenizer

    from strop.chat import ChatTemplate

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError ... for broken folders
        raise TemplateError(
            "no tokenizer can be loaded", where=str(folder), why=str(error), do="name a folder with tokenizer.json"
        ) from error
    return dict(ChatTemplate.from_tokenizer(tokenizer).lock)


def _decoding(folder: Path) -> dict[str, Any]:
    """``generation_config.json``, and the token ids of ``config.json``."""
    given = {key: value for key, value in _optional(folder / "generation_config.json").items() if key not in _VOLATILE}
    config = read_object(folder / "config.json")
    ids = {f"config.{key}": value for key, value in config.items() if key.endswith("_token_id") and value is not None}
    return {**{key: value for key, value in given.items() if value is not None}, **ids}


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


# ------------------------------------------------------------------------------------------------------- two folders


def folder_drift(
    before: str | Path,
    after: str | Path,
    *,
    allowed: frozenset[str] = frozenset(),
    checks: Mapping[str, DriftCheck] = CHECKS,
) -> list[Check]:
    """What changed around the weights from ``before`` to ``after``: two models, or two folders of results.

    Raises: MismatchError where one is a model and the other results, or the suites are not the same; ModelError.
    """
    kinds = bool(result_names(before)), bool(result_names(after))
    if kinds[0] != kinds[1]:
        raise MismatchError(
            f"{before} and {after} are not of one kind",
            why=f"{before if kinds[0] else after} holds results of suites, the other does not",
            do="give two model folders, or two folders of results",
        )
    if not kinds[0]:
        return find_drift(folder_surroundings(after), folder_surroundings(before), allowed=allowed, checks=checks)
    old, new = load_all(before), load_all(after)
    if alone := sorted(old.keys() ^ new.keys()):
        side = before if alone[0] in old else after
        raise MismatchError(
            f"suite {alone[0]} stands in {side} only", do="evaluate both models on the same suites, or move it aside"
        )
    pairs = [(surroundings_of(new[name]), surroundings_of(old[name])) for name in old]
    return [check for pair in pairs for check in find_drift(*pair, allowed=allowed, checks=checks)]
