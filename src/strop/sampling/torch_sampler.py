"""The embedded engine: a plain decode loop over the policy's own model, with a key-value cache.

It reads the policy's weights where they lie, in the policy's precision: every call sees them as they are now.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from strop.errors import NonFiniteError, PromptError
from strop.sampling.cache import make_cache
from strop.sampling.draw import check_params, draw, uniforms
from strop.types import Completion, SamplingParams

if TYPE_CHECKING:
    from strop.models import Policy

_CACHE_BYTES = 2**30
_MAX_BATCH_TOKENS = 2**16
_COMPACT_SHARE = 8  # finished rows leave the cache once they are an eighth of it: each time costs a copy


@dataclass
class Throughput:
    """What a sampler has generated so far."""

    num_tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second of wall time, 0 before the first call."""
        return self.num_tokens / self.seconds if self.seconds else 0.0


@dataclass
class _Row:
    """One request while it is decoded."""

    index: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False


class TorchSampler:
    """Draws completions from a policy; implements ``strop.types.Sampler``.

    ``max_batch_tokens`` bounds rows × (prompt + new tokens) of a batch; None chooses it so that the cache stays within
    one GiB. Requests are sorted by prompt length and cut into batches; identical prompts of a batch are prefilled once.
    ``throughput`` counts all calls so far.
    """

    def __init__(self, policy: Policy, *, max_batch_tokens: int | None = None) -> None:
        self.policy = policy
        self.max_batch_tokens = max_batch_tokens or _default_batch_tokens(policy.model)
        self.throughput = Throughput()

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        """One completion a prompt, in order; row i draws from its own generator, keyed by ``seeds[i]``.

        Greedy decoding (``temperature == 0``) reports log-probabilities at temperature 1.
        Raises: PromptError for an empty prompt or one that leaves no room for ``max_new_tokens`` in the context (never
        clipped), RecipeError for impossible parameters, NonFiniteError when the model's logits are not finite.
        """
        assert len(seeds) == len(prompts), f"{len(prompts)} prompts with {len(seeds)} seeds"
        check_params(params)
        _check_lengths(prompts, params.max_new_tokens, self.policy.max_length)
        start = time.perf_counter()
        completions: list[Completion | None] = [None] * len(prompts)
        with _evaluating(self.policy.model), self.policy.autocast(), torch.inference_mode():
            for batch in _batches(prompts, params.max_new_tokens, self.max_batch_tokens):
                for row in self._decode(batch, prompts, params, seeds):
                    completions[row.index] = self._completion(row)
        done = [completion for completion in completions if completion is not None]
        assert len(done) == len(prompts)
        self.throughput.num_tokens += sum(len(completion.token_ids) for completion in done)
        self.throughput.seconds += time.perf_counter() - start
        return done

    def _completion(self, row: _Row) -> Completion:
        return Completion(
            token_ids=tuple(row.token_ids),
            sampler_logprobs=tuple(row.logprobs),
            text=self.policy.template.decode(row.token_ids),
            finish_reason="stop" if row.finished else "length",
        )

    def _decode(
        self, batch: Sequence[int], prompts: Sequence[Sequence[int]], params: SamplingParams, seeds: Sequence[int]
    ) -> list[_Row]:
        """Decode the requests ``batch`` (indices into ``prompts``) together, each to its stop or its budget's end."""
        rows = [_Row(index) for index in batch]
        device = self.policy.device
        stops = frozenset(self.policy.template.stop_token_ids)
        uniform = uniforms([seeds[index] for index in batch], params.max_new_tokens).to(device)
        state = _prefill(self.policy.model, [prompts[i] for i in batch], params.max_new_tokens, device)
        alive = rows
        for step in range(params.max_new_tokens):
            tokens, logprobs = draw(state.logits, params, uniform[:, step])
            _record(alive, tokens.tolist(), logprobs.tolist(), stops)
            open_rows = [i for i, row in enumerate(alive) if not row.finished]
            if not open_rows:
                break
            if len(alive) - len(open_rows) >= max(1, len(alive) // _COMPACT_SHARE):
                kept = torch.tensor(open_rows, device=device)
                state.select(kept)
                tokens, uniform, alive = tokens[kept], uniform[kept], [alive[i] for i in open_rows]
            if step + 1 < params.max_new_tokens:
                state.advance(tokens)
        return rows


class _State:
    """The running batch: the model, its cache, which cache positions are real, and the logits of the next token."""

    def __init__(self, model: Any, capacity: int, mask: Tensor, width: int) -> None:
        self.model = model
        self.cache = make_cache(model.config, capacity)
        self.mask = mask
        """[B, capacity] int64, 0 at left padding and 1 from the prompt's first token on."""
        self.width = width
        """Positions written so far, left padding included."""
        self.positions = mask[:, :width].sum(-1, keepdim=True)
        """[B, 1] the position id of the next token."""
        self.logits = torch.empty(0)

    def forward(self, token_ids: Tensor, position_ids: Tensor) -> None:
        out = self.model(
            input_ids=token_ids,
            attention_mask=self.mask[:, : self.width],
            position_ids=position_ids,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits = out.logits[:, -1].float()

    def advance(self, tokens: Tensor) -> None:
        """Feed one token a row: ``tokens [B]``."""
        self.width += 1
        self.forward(tokens[:, None], self.positions)
        self.positions = self.positions + 1

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order; a row may be named several times."""
        self.cache.batch_select_indices(rows)
        self.mask, self.positions, self.logits = self.mask[rows], self.positions[rows], self.logits[rows]


def _prefill(model: Any, prompts: list[Sequence[int]], max_new_tokens: int, device: torch.device | str) -> _State:
    """The state after the prompts, left-padded to one width; each distinct prompt is computed once, then expanded."""
    distinct = {tuple(prompt): i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    width = max(map(len, distinct))
    token_ids = torch.tensor([[p[0]] * (width - len(p)) + list(p) for p in distinct], device=device)
    lengths = torch.tensor([len(prompt) for prompt in distinct], device=device)
    capacity = width + max_new_tokens
    mask = (torch.arange(capacity, device=device) >= (width - lengths)[:, None]).long()
    state = _State(model, capacity, mask, width)
    state.forward(token_ids, (mask[:, :width].cumsum(-1) - 1).clamp(min=0))
    if len(distinct) < len(prompts):
        state.select(torch.tensor([distinct[tuple(prompt)] for prompt in prompts], device=device))
    return state


def _record(rows: list[_Row], tokens: list[int], logprobs: list[float], stops: frozenset[int]) -> None:
    for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
        if row.finished:
            continue
        if logprob != logprob:
            raise NonFiniteError(
                f"the model's logits are not finite at new token {len(row.token_ids) + 1}",
                where=f"sampling, prompt {row.index}",
                do="look at the last training steps: a loss or weight became NaN or infinite",
            )
        row.token_ids.append(token)
        row.logprobs.append(logprob)
        row.finished = token in stops


def _batches(prompts: Sequence[Sequence[int]], max_new_tokens: int, max_batch_tokens: int) -> Iterator[list[int]]:
    """Indices of ``prompts`` in batches of similar length, identical prompts side by side; longest batch first."""
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), tuple(prompts[i]), i))
    start = 0
    while start < len(order):
        size = max(1, max_batch_tokens // (len(prompts[order[start]]) + max_new_tokens))
        yield order[start : start + size]
        start += size


def _check_lengths(prompts: Sequence[Sequence[int]], max_new_tokens: int, max_length: int) -> None:
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise PromptError("the prompt is empty", index=index, where=f"prompt {index}", do="give it a message")
        if len(prompt) + max_new_tokens > max_length:
            raise PromptError(
                f"the prompt has {len(prompt)} tokens, and {max_new_tokens} new tokens were asked for",
                index=index,
                where=f"prompt {index}",
                why=f"together they exceed the model's context of {max_length} tokens",
                do="shorten the prompt or lower max_new_tokens",
            )


def _default_batch_tokens(model: Any) -> int:
    """As many tokens as one GiB of cache holds, at most 65,536."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_per_token = 2 * config.num_hidden_layers * heads * head_dim * next(model.parameters()).element_size()
    return int(min(_MAX_BATCH_TOKENS, max(1, _CACHE_BYTES // bytes_per_token)))


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Dropout off inside the block; the mode from before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
