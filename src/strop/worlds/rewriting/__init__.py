"""The rewriting world: proofs that rules turn one string into another, along narrow paths."""

from strop.worlds.rewriting.world import RewritingWorld, skeleton_of

__all__ = ["RewritingWorld", "skeleton_of"]
