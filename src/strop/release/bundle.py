"""What is released: a model folder and the digests of everything that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One releasable model."""

    name: str
    folder: Path
    """The Hugging Face or PEFT folder."""
    digests: Mapping[str, str]
    """``model`` and ``template`` as the gate's evaluation named them; beside them ``base``, ``adapter``, ``tokenizer``,
    ``tools``, ``data``, ``recipe``, whichever there are."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Anything else worth keeping, as JSON: the recipe's text, versions of libraries."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A bundle in the registry."""

    bundle: Bundle
    """Its folder is the registry's own copy."""
    digest: str
    """Of the folder's content: the release's identity."""
    report: Mapping[str, Any]
    """A gate report that it was added with: the one asked for, or the newest of several."""
    created: str
    """When it was added with this report: UTC, ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change of a pointer: who, when, why, and on what grounds."""

    number: int
    time: str
    name: str
    alias: str
    action: str
    """``promote`` or ``rollback``."""
    digest: str
    """The release that the alias points to from here on."""
    previous: str | None
    """The release that it pointed to before."""
    who: str
    why: str
    report_digest: str
    """Of the gate report that allowed it."""
    strop_version: str
