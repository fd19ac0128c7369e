"""A request, what is told about it while it runs, and its row: what was drawn so far and when it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from strop.constraints import CompiledConstraint, Matcher
from strop.sampling.draw import uniforms
from strop.sampling.stopping import GrowingText
from strop.types import Completion, SamplingParams

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

FinishReason = Literal["stop", "length", "cancelled", "deadline"]
_FIRST_UNIFORMS = 64
_FAR, _FIRST_GROWTH = 32, 8  # tokens; used before the grammar's own growth was measured


@dataclass(frozen=True, kw_only=True)
class Request:
    """One completion that is asked for."""

    prompt: Sequence[int]
    params: SamplingParams = field(default_factory=SamplingParams)
    seed: int = 0
    """Alone decides the randomness, whatever else is in the batch."""
    adapter: str = ""
    """Digest of a loaded adapter; empty is the policy as it is."""
    stream: bool = False
    """Whether an event is told for every token, or only the last."""
    name: str = ""
    """For messages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What happened to a request in a step; the last one has a completion or an error."""

    id: int
    token_ids: tuple[int, ...] = ()
    """New since the last event; streamed requests only."""
    logprobs: tuple[float, ...] = ()
    text: str = ""
    """New whole characters; the texts of all events are the completion's text."""
    completion: Completion | None = None
    error: Exception | None = None
    """Why there is no completion."""


class Row:
    """A request while it waits and runs."""

    def __init__(
        self, id: int, request: Request, template: ChatTemplate, adapter: int, compiled: CompiledConstraint | None
    ) -> None:
        self.id = id
        self.request = request
        self.params = request.params
        self.adapter = adapter
        self.slot = -1
        self.deadline: float | None = None
        self.error: Exception | None = None
        self.reason: FinishReason | None = None
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.full_logprobs: list[float] = []
        self.log_mass = 0.0
        self.compiled = compiled
        self.matcher: Matcher | None = None if compiled is None else compiled.matcher()
        self.forced: deque[int] = deque()
        """Tokens that the constraint leaves no choice about, already known to the matcher."""
        self.seen: Tensor | None = None
        """[V] bool, for the repetition penalty."""
        self._template = template
        self._stops = frozenset((*template.stop_token_ids, *request.params.stop_token_ids))
        self._uniforms: list[float] = []
        self._growing = GrowingText(template.text_of, self.params.stop) if request.stream or self.params.stop else None
        self._num_told = 0

    @property
    def length(self) -> int:
        """Tokens of the prompt and the most new ones."""
        return len(self.request.prompt) + self.params.max_new_tokens

    @property
    def remaining(self) -> int:
        """Tokens left in the budget, a stop token included."""
        return self.params.max_new_tokens - len(self.token_ids)

    @property
    def label(self) -> str:
        """How messages name it."""
        return self.request.name or f"request {self.id}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is drawn."""
        return self.reason is not None or self.error is not None

    def uniform(self) -> float:
        """The number of the next draw: the t-th of the request's seed, for the t-th token."""
        at = len(self.token_ids)
        if at >= len(self._uniforms):
            num = min(self.params.max_new_tokens, max(_FIRST_UNIFORMS, 2 * at))
            is_greedy = self.params.temperature == 0
            self._uniforms = [0.0] * num if is_greedy else uniforms([self.request.seed], num)[0].tolist()
        return self._uniforms[at]

    def look_ahead(self) -> None:
        """Ask the matcher for tokens without a choice, if they leave room for the rest. Raises: ConstraintError."""
        assert self.matcher is not None
        if self.forced:
            return
        forced = self.matcher.forced()
        if not forced or len(forced) >= self.remaining or self._stops.intersection(forced):
            return
        left = self.remaining - len(forced)
        has_room = self._is_far_from_the_end(left, len(forced))
        for token in forced:
            self.matcher.consume(token)
        if not has_room and self.matcher.need(left) > left:
            self.matcher.rollback(len(forced))
        else:
            self.forced.extend(forced)

    def _is_far_from_the_end(self, left: int, num_forced: int) -> bool:
        """Whether the rest surely fits after the forced tokens, told without a search."""
        assert self.matcher is not None
        compiled = self.matcher.compiled
        need, since = self.matcher.need_bound or (compiled.min_tokens, len(self.token_ids))
        return left > _FAR + need + (since + num_forced + 1) * (compiled.closing.growth or _FIRST_GROWTH)

    def take(self, token: int, logprob: float, full_logprob: float | None, log_mass: float) -> None:
        """Append a drawn token and decide whether the completion is over. Raises: ConstraintError."""
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        if full_logprob is not None:
            self.full_logprobs.append(full_logprob)
        if self.matcher is not None:
            self.log_mass += log_mass
            if self.forced:
                self.forced.popleft()
            else:
                self.matcher.consume(token)
        if self.seen is not None:
            self.seen[token] = True
        if token in self._stops:
            self.reason = "stop"
            return
        if self._growing is not None:
            self._growing.update(self.token_ids)
            if self._growing.stopped:
                self.reason = "stop"
                return
        if len(self.token_ids) >= self.params.max_new_tokens:
            self.reason = "length"

    def mark_seen(self, vocab_size: int) -> None:
        """Start the record of seen tokens with the prompt, where a penalty needs it."""
        if self.params.repetition_penalty != 1:
            self.seen = torch.zeros(vocab_size, dtype=torch.bool)
            self.seen[torch.tensor(list(self.request.prompt))] = True

    def event(self) -> Event | None:
        """What is new since the last one; None if there is nothing to tell. The last one of a row that is over."""
        if self.error is not None:
            return Event(id=self.id, error=self.error)
        completion = None if self.reason is None else self._completion(self.reason)
        if not self.request.stream:
            return None if completion is None else Event(id=self.id, completion=completion)
        assert self._growing is not None
        new = slice(self._num_told, len(self.token_ids))
        self._num_told = len(self.token_ids)
        return Event(
            id=self.id,
            token_ids=tuple(self.token_ids[new]),
            logprobs=tuple(self.logprobs[new]),
            text=self._growing.take(final=completion is not None),
            completion=completion,
        )

    def _completion(self, reason: FinishReason) -> Completion:
        ids = self.token_ids
        if reason == "stop" and ids and ids[-1] in self._stops:
            ids = ids[:-1]
        text = self._template.text_of(ids)
        if self._growing is not None:
            self._growing.close(text)
            text = self._growing.text if self.params.stop else text
        judged = self.compiled is not None and reason == "stop" and self.compiled.plan.enforcement != "exact"
        return Completion(
            token_ids=tuple(self.token_ids),
            sampler_logprobs=tuple(self.logprobs),
            text=text,
            finish_reason=reason,
            full_logprobs=tuple(self.full_logprobs) if self.params.full_logprobs else None,
            log_allowed_mass=self.log_mass if self.matcher is not None else None,
            violations=self.compiled.validate(text) if judged and self.compiled is not None else (),
        )
