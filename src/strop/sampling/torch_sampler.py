"""The embedded sampler: a policy's own completions, drawn by the engine in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from strop.sampling.decoding import Adapter, Decoder
from strop.sampling.engine import Engine
from strop.sampling.generic import GenericDecoder
from strop.sampling.params import check_rows
from strop.sampling.requests import Request
from strop.sampling.seeds import row_seed
from strop.types import Completion, SamplingParams

if TYPE_CHECKING:
    from strop.models import Policy


@dataclass
class Throughput:
    """What a sampler has generated so far."""

    num_tokens: int = 0
    seconds: float = 0.0
    refresh_seconds: float = 0.0
    """Of these, spent on taking over the policy's weights; 0 where they are read where they lie."""

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second of wall time, 0 before the first call."""
        return self.num_tokens / self.seconds if self.seconds else 0.0


class TorchSampler:
    """Draws completions from a policy; implements ``strop.types.Sampler``.

    ``max_batch_tokens`` bounds prompt and new tokens of all rows that run together; None leaves a quarter of the free
    memory to the cache. Identical prompts that enter together are prefilled once. The policy's weights are taken as
    they are at every call. ``decoder`` replaces the choice that ``execution`` tells. ``throughput`` counts all calls.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        max_batch_tokens: int | None = None,
        max_rows: int = 256,
        decoder: Decoder | None = None,
    ) -> None:
        self.policy = policy
        self.max_batch_tokens = max_batch_tokens
        self.max_rows = max_rows
        self.throughput = Throughput()
        self._decoder = decoder
        self._why = "as it was asked for" if decoder is not None else ""
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """What runs the requests; made at first use."""
        if self._engine is None:
            if self._decoder is None:
                self._decoder, self._why = choose_decoder(self.policy)
            bound = None if self.max_batch_tokens is None else max(1, self._decoder.bytes_for([self.max_batch_tokens]))
            self._engine = Engine(self.policy, decoder=self._decoder, max_rows=self.max_rows, max_bytes=bound)
        return self._engine

    @property
    def execution(self) -> str:
        """How completions are decoded and why so, in words."""
        decoder = self.engine.decoder
        return f"{decoder.name}: {self._why}"

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        *,
        seeds: Sequence[int],
        adapters: Sequence[str] | None = None,
    ) -> list[Completion]:
        """One completion a prompt, in order; row i draws from its own generator, keyed by ``seeds[i]``.

        Greedy decoding (``temperature == 0``) reports log-probabilities at temperature 1. ``adapters`` names the
        adapter of each row by its digest; empty is the policy as it is.
        Raises: PromptError for an empty prompt, ids out of range, or a prompt that leaves no room for
        ``max_new_tokens`` in the context (never clipped); RecipeError for impossible parameters, ConstraintError for an
        impossible constraint; ModelError for an unknown adapter; NonFiniteError when the model's logits are not finite.
        """
        check_rows(prompts, seeds=seeds, adapters=adapters)
        requests = [
            Request(
                prompt=tuple(prompt),
                params=params,
                seed=seeds[i],
                adapter=adapters[i] if adapters else "",
                name=f"prompt {i}",
            )
            for i, prompt in enumerate(prompts)
        ]
        return self.run(requests)

    def run(self, requests: Sequence[Request]) -> list[Completion]:
        """The completions of requests that may differ in everything, in order. Raises: as ``sample``."""
        start = time.perf_counter()
        engine = self.engine
        refreshed = engine.refresh_seconds
        completions = engine.run(requests)
        self.throughput.num_tokens += sum(len(completion.token_ids) for completion in completions)
        self.throughput.seconds += time.perf_counter() - start
        self.throughput.refresh_seconds += engine.refresh_seconds - refreshed
        return completions

    def sample_n(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, n: int, *, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """``n`` completions a prompt; number j of prompt i draws from ``row_seed(seeds[i], j)``."""
        assert n >= 1, f"n = {n}"
        assert len(seeds) == len(prompts), f"{len(prompts)} prompts with {len(seeds)} seeds"
        flat = self.sample(
            [prompt for prompt in prompts for _ in range(n)],
            params,
            seeds=[row_seed(seed, j) for seed in seeds for j in range(n)],
        )
        return [flat[i * n : (i + 1) * n] for i in range(len(prompts))]

    def best_of(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        n: int,
        *,
        seeds: Sequence[int],
        by: Literal["mean", "sum"] = "mean",
    ) -> list[Completion]:
        """Of ``n`` completions a prompt the one that the model finds most likely, by token or as a whole.

        Whole answers come before cut ones. The model's own log-probabilities are compared (``full_logprobs``), since
        those of a cut or tempered distribution are not comparable between completions. Raises: as ``sample``.
        """
        groups = self.sample_n(prompts, replace(params, full_logprobs=True), n, seeds=seeds)
        best = [max(group, key=lambda completion: _rank(completion, by)) for group in groups]
        return best if params.full_logprobs else [replace(completion, full_logprobs=None) for completion in best]

    def load_adapter(self, adapter: Adapter | Path | str) -> str:
        """The digest by which rows name the adapter, a PEFT folder or one in memory. Raises: ModelError."""
        return self.engine.load_adapter(adapter)


def _rank(completion: Completion, by: Literal["mean", "sum"]) -> tuple[bool, float]:
    logprobs = completion.full_logprobs or ()
    score = sum(logprobs) / (max(1, len(logprobs)) if by == "mean" else 1)
    return not completion.is_truncated, score


def choose_decoder(policy: Policy) -> tuple[Decoder, str]:
    """The decoder for a policy, and why it is this one: the hand-written step only where a probe proves it equal."""
    from strop.sampling.decoder import probe

    found = probe(policy)
    if isinstance(found, str):
        return GenericDecoder(policy), found
    return found, "on this very model its logits equal the model's own"
