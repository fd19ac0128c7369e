"""What can drift, one function each: the chat template, the tokenizer, the tools, the index, the decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strop.chat.lock import differences
from strop.digests import digest_json
from strop.evals.drift.replay import changed_probes
from strop.evals.drift.surroundings import Surroundings
from strop.tools.compatibility import ContractChange, contract_changes
from strop.types import Check, Json

_NUM_NAMED = 20
_TEXT_KEYS = ("template", "render_date")
_ID_KEYS = ("tokenizer", "special_tokens", "control_tokens")


def check_template(candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool) -> list[Check]:
    """The template's source and date, and every golden conversation that is rendered as another text."""
    before, after = baseline.template, candidate.template
    if not before or not after:
        return _unseen("template", candidate, baseline, weights_unchanged)
    told = differences(_sublock(before, _TEXT_KEYS, _texts(before)), _sublock(after, _TEXT_KEYS, _texts(after)))
    changed = [name for name, text in _texts(before).items() if text != _texts(after).get(name)]
    return _found("template", told, weights_unchanged, candidate, baseline, {"goldens": changed})


def check_tokenizer(candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool) -> list[Check]:
    """The tokenizer, its special tokens with their ids, and every golden text that becomes other ids."""
    before, after = baseline.template, candidate.template
    if not before or not after:
        return _unseen("tokenizer", candidate, baseline, weights_unchanged)
    same = [name for name, text in _texts(before).items() if text == _texts(after).get(name)]
    old = {name: before["goldens"][name] for name in same}
    new = {name: after["goldens"][name] for name in same}
    told = differences(_sublock(before, _ID_KEYS, old), _sublock(after, _ID_KEYS, new))
    changed = [name for name in same if old[name] != new[name]]
    return _found("tokenizer", told, weights_unchanged, candidate, baseline, {"goldens": changed})


def _sublock(lock: Json, keys: tuple[str, ...], goldens: Json) -> dict[str, Any]:
    return {"goldens": goldens, **{key: lock.get(key) for key in keys}}


def _texts(lock: Json) -> dict[str, Json]:
    """The goldens without their token ids: the template's share of them."""
    found = lock.get("goldens") or {}
    return {name: {key: value for key, value in golden.items() if key != "token_ids"} for name, golden in found.items()}


# ---------------------------------------------------------------------------------------------------------------- tools


def check_tools(candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool) -> list[Check]:
    """Every tool whose contract differs: what changed, whether it breaks, and whether its version announced it."""
    before, after = _contracts(baseline.tools), _contracts(candidate.tools)
    changes = contract_changes(before, after)
    seen = {change.tool for change in changes}
    raw = [
        name
        for name in baseline.tools.keys() & candidate.tools.keys() - seen
        if digest_json(baseline.tools[name]) != digest_json(candidate.tools[name])
    ]
    told = [_change_told(change) for change in changes]
    told += [f"{name}: described to the model in another way" for name in sorted(raw)]
    if not told:
        return _unseen("tools", candidate, baseline, weights_unchanged)
    tools = {
        change.tool: {
            "kind": change.kind,
            "is_announced": _is_announced(change),
            "baseline": _digest(baseline.tools.get(change.tool)),
            "candidate": _digest(candidate.tools.get(change.tool)),
        }
        for change in changes
    }
    return _found("tools", told, weights_unchanged, candidate, baseline, {"tools": tools})


def _contracts(tools: Mapping[str, Json]) -> dict[str, Json]:
    """Contracts as they are; of a plain function what it tells, without a version."""
    return {name: _contract(tool["function"]) if "function" in tool else tool for name, tool in tools.items()}


def _contract(function: Json) -> dict[str, Any]:
    return {
        "name": function.get("name", ""),
        "version": "",
        "description": function.get("description", ""),
        "parameters": function.get("parameters") or {},
        "returns": function.get("returns") or {},
        "effect": "read",
        "permission": "",
        "tenants": None,
        "tenant_argument": "",
    }


def _is_announced(change: ContractChange) -> bool | None:
    """None where no version could announce it: a plain function, a new tool, a lost one."""
    return change.is_announced if change.before and change.after else None


def _change_told(change: ContractChange) -> str:
    announced = _is_announced(change)
    versions = f"{change.before} -> {change.after}"
    place = {"breaking": "major", "compatible": "minor", "wording": "patch"}[change.kind]
    told = {
        None: "no version tells of it",
        True: f"announced by its version, {versions}",
        False: f"not announced: {versions}, where a higher {place} number is due",
    }[announced]
    return f"{change.tool}: {change.kind} ({told}): {'; '.join(change.reasons)}"


def _digest(tool: Json | None) -> str:
    return "" if tool is None else digest_json(tool)


# ---------------------------------------------------------------------------------------------------- index, decoding


def check_index(candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool) -> list[Check]:
    """The index's digest, and the probe queries that it answers otherwise, whether its digest tells or not."""
    before, after = baseline.index, candidate.index
    old = before.get("digest") or baseline.digests.get("index", "")
    new = after.get("digest") or candidate.digests.get("index", "")
    changed = changed_probes(before, after)
    if old == new and not changed:
        return []
    num_probes = len((before.get("probes") or {}).keys() & (after.get("probes") or {}).keys())
    told = [f"its digest was {old[:12] or 'none'} and is {new[:12] or 'none'}"] if old != new else []
    if not old or not new:
        told = ["there was no index before" if not old else "there is no index any more"]
    told += [f"{len(changed)} of {num_probes} replayed queries are answered differently"] if num_probes else []
    told += [f"{key!r} {how}" for key, how in changed.items()]
    if not num_probes:
        told.append("no query was replayed, so what it changes for users is not known")
    return _found("index", told, weights_unchanged, candidate, baseline, {"queries": changed, "num_probes": num_probes})


def check_decoding(candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool) -> list[Check]:
    """The settings that answers are drawn with."""
    before, after = baseline.decoding, candidate.decoding
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    told = [f"{key}: {before.get(key)!r} -> {after.get(key)!r}" for key in keys]
    return _found("decoding", told, weights_unchanged, candidate, baseline, {"settings": keys})


# -------------------------------------------------------------------------------------------------------------- telling

_NUM_SHOWN = 3
_GOLDEN = "golden conversation "
_MANY = {"tools": "tools", "decoding": "decoding settings"}


def _found(
    part: str,
    told: list[str],
    weights_unchanged: bool,
    candidate: Surroundings,
    baseline: Surroundings,
    numbers: Mapping[str, Any],
) -> list[Check]:
    """The check that says what changed; nothing without a difference."""
    if not told:
        return []
    named, are = _MANY.get(part, part), "are" if part in _MANY else "is"
    head = f"the weights are the same, the {named} {are} not"
    if not weights_unchanged:
        head = f"the weights changed, and so did the {named}"
    goldens = [line for line in told if line.startswith(_GOLDEN)]
    first = min(goldens, key=lambda line: (len(line), line), default="")  # one is shown, the others are named
    shown = [line for line in told if line == first or not line.startswith(_GOLDEN)][:_NUM_SHOWN]
    rest = len(told) - len(shown)
    reason = f"{head}: " + "; ".join(shown) + (f"; and {rest} more" if rest else "")
    ends = {
        "weights_unchanged": weights_unchanged,
        "candidate": candidate.digests.get(part, ""),
        "baseline": baseline.digests.get(part, ""),
        "differences": told[:_NUM_NAMED],
    }
    return [Check(name=f"{candidate.name}: {part}", outcome="BLOCK", reason=reason, numbers={**ends, **numbers})]


def _unseen(part: str, candidate: Surroundings, baseline: Surroundings, weights_unchanged: bool) -> list[Check]:
    """Where the content is not at hand on both sides, or does not show it, the digests decide."""
    old, new = baseline.digests.get(part), candidate.digests.get(part)
    if old is None or new is None or old == new:
        return []
    told = [f"its digest was {old[:12]} and is {new[:12]}; what was kept does not show why"]
    return _found(part, told, weights_unchanged, candidate, baseline, {})
