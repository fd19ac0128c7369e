"""What the tests of every method share: taking batches from a stream and comparing them."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import torch

from strop.types import Batch, Cursor, Stream

TIMED = frozenset({"generated_tokens_per_second"})


def take_batches(stream: Stream, policy: Any, number: int, start: Cursor | None = None) -> list[Batch]:
    """The first ``number`` batches after ``start``; the cursor goes through JSON, as in a checkpoint."""
    cursor = None if start is None else json.loads(json.dumps(start))
    return list(islice(stream(policy, start=cursor), number))


def assert_same_batch(one: Batch, other: Batch) -> None:
    """Equal to the last bit, cursor and all metrics but wall times included."""
    assert one.names == other.names
    assert one.cursor == other.cursor
    assert {k: v for k, v in one.metrics.items() if k not in TIMED} == {
        k: v for k, v in other.metrics.items() if k not in TIMED
    }
    assert torch.equal(one.token_ids, other.token_ids)
    assert torch.equal(one.loss_mask, other.loss_mask)
    assert one.streams.keys() == other.streams.keys()
    assert one.facts.keys() == other.facts.keys()
    assert all(torch.equal(one.streams[key], other.streams[key]) for key in one.streams)
    assert all(torch.equal(one.facts[key], other.facts[key]) for key in one.facts)
