"""The stack world: programs for a small stack machine that must compute a formula, judged by hidden tests."""

from strop.worlds.stack.world import StackWorld

__all__ = ["StackWorld"]
