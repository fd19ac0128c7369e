"""Why a request could not go on, told by its cause: the model, the caller's settings, or the memory."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from strop.errors import MemoryLimitError, NonFiniteError, RecipeError, UserError

if TYPE_CHECKING:
    from strop.sampling.requests import Row


def nothing_drawn(row: Row, logits: Tensor) -> UserError:
    """Why no token of a row has a probability, given the model's own ``logits [V]`` for it."""
    at, where = len(row.token_ids) + 1, f"sampling, {row.label}"
    if bool((logits.isnan() | logits.isposinf()).any()) or not bool(logits.isfinite().any()):
        return NonFiniteError(
            f"the model's logits are not finite at new token {at}",
            where=where,
            do="look at the last training steps: a loss or weight became NaN or infinite",
        )
    has_bans = -inf in row.params.logit_bias.values()
    bans = [name for name, has in (("logit_bias", has_bans), ("the model", bool(logits.isneginf().any()))) if has]
    if not bans:
        return RecipeError(
            f"the scores overflow at new token {at}",
            where=where,
            why=f"the model's logits go up to {float(logits.abs().max()):.3g}, before bias, penalty and temperature",
            do="use a smaller logit_bias, a repetition_penalty nearer 1, or a larger temperature",
        )
    return RecipeError(
        f"no token is left to draw at new token {at}",
        where=where,
        why=f"{' and '.join(bans)} rule out (-inf) every token"
        + (" that the constraint allows" if row.matcher is not None else ""),
        do="leave a token that may come here out of logit_bias" if has_bans else "loosen the constraint",
    )


def told(error: Exception) -> Exception:
    """The error as its requests are told it: where memory ran out, with the setting to lower."""
    is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in str(error)
    if not is_memory:
        return error
    return MemoryLimitError(
        "memory ran out while sampling",
        why=(str(error).splitlines() or [type(error).__name__])[0],
        do="lower max_batch_tokens of the sampler, or max_bytes of the engine",
    )
