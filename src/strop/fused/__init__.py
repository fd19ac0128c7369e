"""Numbers a token from hidden states and the head's weight, without ever holding all logits at once."""

from strop.fused.rows import MAX_BYTES, by_rows
from strop.fused.teacher import against_teacher, against_top
from strop.fused.token_logprobs import logprobs_of, token_logprobs

__all__ = ["MAX_BYTES", "against_teacher", "against_top", "by_rows", "logprobs_of", "token_logprobs"]
