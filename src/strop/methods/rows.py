"""Where a stream stands: its steps, its rows, and the identity that a cursor carries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from strop.data.order import epoch_order, steps_per_epoch
from strop.digests import digest_json
from strop.errors import MismatchError, RecipeError
from strop.types import Cursor, Sample, Task


def num_steps(num_rows: int, batch_size: int, epochs: float) -> int:
    """The optimizer steps of ``epochs`` passes; each pass ends with a smaller batch if the rows do not divide evenly.

    Raises: RecipeError if that is no step at all.
    """
    whole = math.floor(epochs)
    steps = whole * steps_per_epoch(num_rows, batch_size) + math.ceil((epochs - whole) * num_rows / batch_size)
    if steps < 1:
        raise RecipeError(
            f"{epochs} epochs over {num_rows} rows in batches of {batch_size} make no step",
            do="give more rows or epochs",
        )
    return steps


def endless_rows(step: int, num_rows: int, batch_size: int, seed: int) -> list[int]:
    """Exactly ``batch_size`` rows for the step with this index (from 0), running on from one pass into the next."""
    first, last = step * batch_size, (step + 1) * batch_size
    epochs = range(first // num_rows, (last - 1) // num_rows + 1)
    rows = [row for epoch in epochs for row in epoch_order(num_rows, epoch, seed)]
    offset = epochs[0] * num_rows
    return rows[first - offset : last - offset]


def samples_digest(samples: Sequence[Sample]) -> str:
    """The identity of tokenised rows: names, tokens and masks, in order."""
    return digest_json([digest_json([s.name, s.token_ids, s.loss_mask]) for s in samples])


def tasks_digest(tasks: Sequence[Task]) -> str:
    """The identity of tasks: prompts, tools and references, in order."""
    return digest_json([digest_json(asdict(task)) for task in tasks])


def first_step(start: Cursor | None, identity: Cursor) -> int:
    """The index of the step that follows the cursor ``start``, 0 for None.

    ``identity`` is what the stream is made of, as it stands in its own cursors.
    Raises: MismatchError if the cursor belongs to a stream made of something else.
    """
    if not start:
        return 0
    for key, value in identity.items():
        if start.get(key) != value:
            raise MismatchError(
                f"the checkpoint was made with another {key}",
                why=f"it holds {start.get(key)!r}, now it is {value!r}; going on would mix two runs",
                do="resume with the data and settings of the first run, or start anew in another folder",
            )
    return int(start["step"])
