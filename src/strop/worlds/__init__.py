"""Worlds: generators of data and checkable tasks, named ``world:NAME`` wherever data is named."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from strop.errors import RecipeError
from strop.worlds.arithmetic import ArithmeticWorld
from strop.worlds.contest import ContestWorld
from strop.worlds.finance import FinanceWorld, FinanceWritingWorld, MonthEndWorld, TreasuryWorld
from strop.worlds.gym import PREFIX, GymWorld
from strop.worlds.lookup import LookupWorld
from strop.worlds.rewriting import RewritingWorld
from strop.worlds.stack import StackWorld
from strop.worlds.world import World

__all__ = [
    "ArithmeticWorld",
    "ContestWorld",
    "FinanceWorld",
    "FinanceWritingWorld",
    "GymWorld",
    "LookupWorld",
    "MonthEndWorld",
    "RewritingWorld",
    "StackWorld",
    "TreasuryWorld",
    "World",
    "get_world",
    "world_names",
]

_WORLDS: dict[str, Callable[[], World]] = {
    "finance": FinanceWorld,
    "arithmetic": ArithmeticWorld,
    "lookup": LookupWorld,
    "rewriting": RewritingWorld,
    "stack": StackWorld,
    "contest": ContestWorld,
    "month_end": MonthEndWorld,
    "finance_writing": FinanceWritingWorld,
    "treasury": TreasuryWorld,
}


def world_names() -> tuple[str, ...]:
    """The worlds that can be named."""
    return tuple(_WORLDS)


def get_world(name: str) -> World:
    """The world of that name, or ``gym.gcd`` for one of reasoning-gym. Raises: RecipeError, naming the nearest."""
    if name in _WORLDS:
        return _WORLDS[name]()
    if name.startswith(PREFIX):
        return GymWorld(name=name)
    near = difflib.get_close_matches(name, _WORLDS, n=1)
    raise RecipeError(
        f"there is no world {name!r}",
        do=f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(_WORLDS)}",
    )
