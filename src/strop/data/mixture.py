"""Several sources in fixed shares: which row comes next follows from what came before, and from nothing random."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.data.order import epoch_order
from strop.errors import RecipeError
from strop.types import Cursor

_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """How much of each source is met. Raises: RecipeError for shares that are no shares."""

    sizes: tuple[int, ...]
    """Rows of each source; all rows stand one source behind the other."""
    shares: tuple[float, ...]
    """Of the trained tokens, in the order of the sources; their sum is 1."""

    def __post_init__(self) -> None:
        require_shares(self.shares, len(self.sizes))

    def steps(
        self, weights: Sequence[int], batch_size: int, *, seed: int, start: Cursor | None = None
    ) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Endless (rows, cursor) of one batch each, going on from ``start``; ``weights`` are each row's trained tokens.

        The next row comes from the source that has had least of its share, so that no source is ever ahead of its share
        by more than its longest row, nor behind by more than the longest rows of all the others together. Each source
        has its own passes, in an order that follows from seed, source and pass.
        A cursor of other shares goes on with every source's rows where they stood; the new shares hold from there.
        """
        drawn = list(start["drawn"]) if start else [0] * len(self.sizes)
        is_same = start is not None and tuple(start["shares"]) == self.shares
        tokens = list(start["tokens"]) if start is not None and is_same else [0] * len(self.sizes)
        passes = [_Pass(size, _seed(seed, source)) for source, size in enumerate(self.sizes)]
        firsts = [sum(self.sizes[:source]) for source in range(len(self.sizes))]
        while True:
            rows = []
            for _ in range(batch_size):
                source = min(range(len(self.sizes)), key=lambda i: tokens[i] / self.shares[i])
                row = firsts[source] + passes[source].row(drawn[source])
                drawn[source] += 1
                tokens[source] += max(1, weights[row])
                rows.append(row)
            yield rows, {"drawn": list(drawn), "tokens": list(tokens), "shares": list(self.shares)}

    def lowered(self, source: int, factor: float) -> Mixture:
        """The mixture with one source's share multiplied by ``factor``, the others grown in proportion."""
        share = self.shares[source] * factor
        growth = (1 - share) / (1 - self.shares[source])
        shares = [share if index == source else other * growth for index, other in enumerate(self.shares)]
        return Mixture(sizes=self.sizes, shares=tuple(shares))


def require_shares(shares: Sequence[float], num_sources: int, *, where: str = "") -> None:
    """Refuse shares that do not fit their sources. Raises: RecipeError."""
    if len(shares) != num_sources or num_sources < 2:
        raise RecipeError(
            f"{len(shares)} shares for {num_sources} source{'s' * (num_sources != 1)}",
            where=where,
            why="each of several sources has a share",
            do='write e.g. data = ["a.jsonl", "b.jsonl"] with shares = [0.8, 0.2]',
        )
    if not (all(share > 0 for share in shares) and abs(sum(shares) - 1) <= _ROUNDING):  # nan fails every comparison
        raise RecipeError(
            f"shares {list(shares)} are no shares",
            where=where,
            why=f"each is above 0 and their sum is 1, not {sum(shares):g}",
            do="write e.g. shares = [0.8, 0.2]; leave out a source that is not wanted",
        )


def realised(cursor: Mapping[str, Any]) -> dict[str, float]:
    """``share_0``, ``share_1`` …: what each source has had of the trained tokens since its share holds."""
    total = sum(cursor["tokens"])
    return {f"share_{source}": tokens / total for source, tokens in enumerate(cursor["tokens"])}


class _Pass:
    """Row k of a source's endless passes; the order of the pass it stands in is kept."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._epoch, self._order = -1, list[int]()

    def row(self, k: int) -> int:
        epoch, place = divmod(k, self._size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self._size, epoch, self._seed)
        return self._order[place]


def _seed(seed: int, source: int) -> int:
    return int.from_bytes(hashlib.sha256(f"mixture/{seed}/{source}".encode()).digest()[:7], "big")
