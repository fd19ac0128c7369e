"""Sequences of tokens for property tests of credit: drawn as lists, so that plain loops can judge the flat axis."""

from __future__ import annotations

import math

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

thorough = settings(max_examples=20, deadline=None, derandomize=True)

number = st.floats(-3, 3, allow_subnormal=False).map(lambda x: round(x, 3))
token = st.tuples(number, number, st.booleans())
"""Two numbers of a token, and whether the policy chose it."""
sequences = st.lists(st.lists(token, min_size=1, max_size=6), min_size=1, max_size=4)

Rows = list[list[tuple[float, float, bool]]]


def lay_out(rows: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both numbers, mask and sequence ids, end to end; tokens outside the mask hold NaN, which must not matter."""
    tokens = [token for row in rows for token in row]
    first = torch.tensor([x if masked else math.nan for x, _, masked in tokens], dtype=torch.float64)
    second = torch.tensor([y if masked else math.nan for _, y, masked in tokens], dtype=torch.float64)
    mask = torch.tensor([masked for _, _, masked in tokens])
    return first, second, mask, torch.tensor([i for i, row in enumerate(rows) for _ in row])


def spread(rows: Rows, chosen: list[list[float]]) -> list[float]:
    """One number for every chosen token of every row, back at its place, and 0 elsewhere."""
    left = [iter(numbers) for numbers in chosen]
    return [next(left[i]) if masked else 0.0 for i, row in enumerate(rows) for _, _, masked in row]


def trained(rows: Rows) -> list[list[tuple[float, float]]]:
    """Each row's chosen tokens only."""
    return [[(x, y) for x, y, masked in row if masked] for row in rows]
