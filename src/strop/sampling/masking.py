"""Constraint masks for a batch: one call for all matchers, forced tokens where the grammar leaves no choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from strop.constraints import apply, fill_batch
from strop.errors import ConstraintError
from strop.sampling.requests import Row

_NARROW = 64


def constraint_mask(rows: Sequence[Row], device: torch.device) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
    """The constrained rows and what masks their logits; a row with forced tokens is left exactly the next one."""
    places = [i for i, row in enumerate(rows) if row.matcher is not None]
    if not places:
        return None
    constrained = [rows[i] for i in places]
    bits = _bitmask(constrained)
    # Where many tokens are allowed none is forced; asking costs as much as the mask.
    narrow = np.bitwise_count(bits.numpy()).sum(axis=1) <= _NARROW if bits.shape[1] else []
    _guarded([row for row, is_narrow in zip(constrained, narrow) if is_narrow], Row.look_ahead)
    forced = [(i, row.forced[0]) for i, row in enumerate(constrained) if row.forced]

    def forbid(part: Tensor) -> Tensor:
        masked = apply(part, bits) if bits.shape[1] else part
        return only(part, forced, masked) if forced else masked

    return torch.tensor(places, device=device), forbid


def _guarded(rows: Sequence[Row], act: Callable[[Row], None]) -> None:
    """``act`` on every row; a constraint's error is the row's own."""
    for row in rows:
        if row.error is None:
            try:
                act(row)
            except ConstraintError as error:
                row.error = error


def _bitmask(rows: Sequence[Row]) -> Tensor:
    """The packed masks of constrained rows; all ones where a token is forced or the row failed, empty if all are so."""
    while True:
        matchers = [None if row.forced or row.error is not None else row.matcher for row in rows]
        try:
            return fill_batch(matchers, [row.remaining for row in rows])
        except ConstraintError as error:
            failed = len([row for row in rows if row.error is not None])
            _guarded([row for row, matcher in zip(rows, matchers, strict=True) if matcher], _probe)
            if len([row for row in rows if row.error is not None]) == failed:
                raise error


def _probe(row: Row) -> None:
    assert row.matcher is not None
    row.matcher.allowed(row.remaining)


def only(logits: Tensor, forced: Sequence[tuple[int, int]], masked: Tensor) -> Tensor:
    """``masked``, but ``logits`` of one token and -inf at all others in each of the rows (row, token)."""
    rows, tokens = torch.tensor(forced, device=logits.device).unbind(1)
    masked = masked.index_fill(0, rows, -torch.inf)
    masked[rows, tokens] = logits[rows, tokens]
    return masked
