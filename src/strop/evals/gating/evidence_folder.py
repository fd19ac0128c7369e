"""Evidence on disk: a folder whose ``evidence.json`` says of what kind it is, what it is about, and its own digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError, OutputError
from strop.files import write_json
from strop.types import Json

EVIDENCE_NAME = "evidence.json"


def require_evidence_folder(folder: Path | str, kind: str) -> None:
    """Raise OutputError where evidence of another kind lies: it would be lost, and no gate would hear of it."""
    path = Path(folder) / EVIDENCE_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if found != kind:
        raise OutputError(
            f"{folder} holds evidence of kind {found}, not {kind}",
            where=str(path),
            why="it would be lost, and a gate would not hear it",
            do="give each kind of evidence a folder of its own",
        )


def write_evidence_json(
    folder: Path | str, kind: str, content: Json, *, about: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Write ``evidence.json`` into ``folder``, atomically, and return it with its ``digest``.

    ``about`` is suite → digest of the candidate's result that the evidence speaks of: a gate refuses evidence about
    another candidate. ``content`` has further keys of the kind's own. Raises: OutputError, also where evidence of
    another kind lies.
    """
    require_evidence_folder(folder, kind)
    assert not content.keys() & {"kind", "about", "digest"}, "those keys are the file's own"
    rest = json.loads(json.dumps({"kind": kind, "about": dict(about or {}), **content}))
    whole = {**rest, "digest": digest_json(rest)}
    write_json(Path(folder) / EVIDENCE_NAME, whole)
    return whole


def read_evidence_json(folder: Path | str, kind: str | None = None) -> dict[str, Any]:
    """What ``write_evidence_json`` wrote. Raises: MismatchError if it is missing, edited, or of another kind."""
    path = Path(folder) / EVIDENCE_NAME
    if not path.is_file():
        raise MismatchError(
            f"{folder} holds no {EVIDENCE_NAME}",
            where=str(folder),
            why="" if Path(folder).is_dir() else "there is no such folder",
            do="`strop label report --output`, `strop judge --output` and `strop red-team report --output` write one",
        )
    try:
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rest = {key: value for key, value in whole.items() if key != "digest"}
        if digest_json(rest) != whole["digest"]:
            raise ValueError("its content does not match its digest")
        if not isinstance(whole["kind"], str) or not isinstance(whole["about"], dict):
            raise ValueError("it has no kind, or is about nothing")
        if kind is not None and whole["kind"] != kind:
            raise ValueError(f"it is of kind {whole['kind']}, not {kind}")
        return whole
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MismatchError(
            f"cannot use the evidence in {folder}", where=str(path), why=str(error), do="make the evidence again"
        ) from error
