"""Counter-based seeds: what is drawn for a row follows from where the row stands, not from what was drawn before."""

from __future__ import annotations

import hashlib


def row_seed(*counters: int) -> int:
    """A seed in 0 … 2^63 - 1 from ``counters`` such as (run seed, step, row); equal counters give equal seeds."""
    content = ",".join(map(str, counters)).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1
