"""Releases: bundles of digests, and a registry that remembers every pointer."""

from strop.release.bundle import Bundle, Event, Release
from strop.release.record import DecisionRecord
from strop.release.registry import Registry

__all__ = ["Bundle", "DecisionRecord", "Event", "Registry", "Release"]
