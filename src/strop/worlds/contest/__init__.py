"""The contest world: small Python functions described in words, judged by hidden unit tests."""

from strop.worlds.contest.world import ContestWorld

__all__ = ["ContestWorld"]
