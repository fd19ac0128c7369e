"""Hash-disjoint splits and counter-based randomness for generated worlds."""

from __future__ import annotations

import hashlib
import random
from typing import Literal, get_args

from strop.errors import RecipeError

Split = Literal["train", "dev", "test"]


def split_of(key: str) -> Split:
    """The split that a combination belongs to, by its hash alone: 70 % train, 10 % dev, 20 % test."""
    bucket = hashlib.sha256(key.encode()).digest()[0] % 10
    return "test" if bucket < 2 else "dev" if bucket == 2 else "train"


def check_split(split: str) -> Split:
    """``split`` itself. Raises: RecipeError if it is not train, dev or test."""
    if split not in get_args(Split):
        raise RecipeError(f"there is no split {split!r}", do=f"choose one of {', '.join(get_args(Split))}")
    return split  # type: ignore[return-value]


def row_random(*parts: object) -> random.Random:
    """A generator that depends on ``parts`` only, so that row i is the same whatever n is."""
    return random.Random("/".join(str(part) for part in parts))
