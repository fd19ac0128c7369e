"""The embedded engine: continuous batching over a decoder.

Requests wait in order, enter the running batch as memory and rows allow, and leave it the moment they end. Every one
has its own parameters, seed, adapter, constraint and deadline; what is drawn for it does not depend on its companions.
Not for several threads at once: a server steps it in one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from strop.constraints import Vocabulary, compile_constraint
from strop.errors import ConstraintError, ModelError
from strop.sampling.adapters import read_adapter
from strop.sampling.admission import default_cache_bytes, num_fitting
from strop.sampling.decoding import Adapter, Decoder, evaluating
from strop.sampling.draw import Drawn, Settings, draw_rows
from strop.sampling.failures import nothing_drawn, told
from strop.sampling.generic import GenericDecoder
from strop.sampling.masking import constraint_mask, only
from strop.sampling.params import check_params, check_prompt
from strop.sampling.requests import Event, FinishReason, Request, Row
from strop.types import Completion

if TYPE_CHECKING:
    from strop.models import Policy


class Engine:
    """Runs requests on a policy. ``max_rows`` and ``max_bytes`` (of keys and values) bound the running batch.

    One request always runs, however large. The policy's weights must stay as they are while requests run; they are
    taken anew whenever the batch was empty before. ``decoder``: the model's own forward where it is None; the engine of
    a ``TorchSampler`` has the one that a probe chose.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        decoder: Decoder | None = None,
        max_rows: int = 256,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert max_rows >= 1, f"max_rows = {max_rows}"
        self.policy = policy
        self.decoder: Decoder = decoder or GenericDecoder(policy)
        self.max_rows = max_rows
        self.max_bytes = max_bytes or default_cache_bytes(policy.device)
        self.refresh_seconds = 0.0
        """Time spent so far on taking the policy's weights over."""
        self._clock = clock
        self._waiting: deque[Row] = deque()
        self._rows: list[Row] = []
        self._logits = torch.empty(0)
        self._slots = torch.empty(0, dtype=torch.int64)
        self._settings: Settings | None = None
        self._events: list[Event] = []
        self._adapters: dict[str, int] = {}
        self._num_requests = 0
        self._has_deadlines = False
        self._in_session = False

    # -------------------------------------------------------------------------------------------------------- requests

    def submit(self, request: Request) -> int:
        """The id of the request, which now waits for its turn.

        Raises: PromptError for a prompt that is empty, has ids out of range, or leaves no room for ``max_new_tokens``
        in the context (never clipped); RecipeError, ConstraintError, VocabularyError for impossible parameters;
        ModelError for an adapter that is not loaded.
        """
        self.check(request)
        row = self._row(request)
        self._waiting.append(row)
        return row.id

    def check(self, request: Request, index: int = 0) -> None:
        """Raise what ``submit`` would raise for the request's prompt, parameters and adapter."""
        check_params(request.params, self.decoder.vocab_size, self.policy.template.stop_token_ids)
        check_prompt(
            request.prompt,
            request.params.max_new_tokens,
            self.policy.max_length,
            self.decoder.vocab_size,
            index=index,
            where=request.name or f"prompt {index}",
        )
        if request.adapter and request.adapter not in self._adapters:
            raise ModelError(
                f"there is no adapter {request.adapter!r}",
                where=request.name,
                why=f"loaded are {', '.join(sorted(a[:12] for a in self._adapters)) or 'none'}",
                do="load it first; an adapter is known by its digest",
            )

    def _row(self, request: Request) -> Row:
        compiled = None
        if request.params.constraint is not None:
            vocabulary = Vocabulary.of(self.policy.template, self.decoder.vocab_size)
            compiled = compile_constraint(request.params.constraint, vocabulary)
            if compiled.min_tokens > request.params.max_new_tokens:
                raise ConstraintError(
                    f"max_new_tokens = {request.params.max_new_tokens} is too small for the constraint",
                    where=request.name,
                    why=f"a short completion takes {compiled.min_tokens} tokens, the stop token included",
                    do="raise max_new_tokens",
                )
        self._num_requests += 1
        adapter = self._adapters[request.adapter] if request.adapter else -1
        row = Row(self._num_requests - 1, request, self.policy.template, adapter, compiled)
        if request.params.deadline_s is not None:
            row.deadline = self._clock() + request.params.deadline_s
            self._has_deadlines = True
        return row

    def load_adapter(self, adapter: Adapter | Path | str) -> str:
        """The digest by which requests name the adapter, a PEFT folder or one in memory. Raises: ModelError."""
        if not isinstance(adapter, Adapter):
            adapter = read_adapter(adapter)
        if adapter.digest not in self._adapters:
            self._adapters[adapter.digest] = self.decoder.load(adapter)
        return adapter.digest

    def cancel(self, id: int) -> bool:
        """End a request now, with what it has; its memory is free at once. False if it is not there any more."""
        for row in (*self._waiting, *self._rows):
            if row.id == id:
                self._end([row], "cancelled")
                return True
        return False

    @property
    def num_waiting(self) -> int:
        """Requests that have not begun."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Requests in the batch."""
        return len(self._rows)

    @property
    def is_idle(self) -> bool:
        """Whether ``step`` would do and tell nothing."""
        return not (self._waiting or self._rows or self._events)

    # --------------------------------------------------------------------------------------------------------- running

    def run(self, requests: Sequence[Request]) -> list[Completion]:
        """The completions, in order; requests submitted before run along, and their events are told by ``step``.

        They enter longest first and identical prompts side by side: little padding, and each prompt computed once.
        Raises: what ``submit`` raises, before anything runs, and the first error of one of these requests; the others
        are then cancelled.
        """
        for index, request in enumerate(requests):
            self.check(request, index)
        rows = [self._row(request) for request in requests]
        self._waiting.extend(
            sorted(rows, key=lambda row: (-len(row.request.prompt), tuple(row.request.prompt), row.id))
        )
        mine = {row.id: place for place, row in enumerate(rows)}
        found: list[Completion | None] = [None] * len(rows)
        others: list[Event] = []
        left = len(rows)
        try:
            with self.session():
                while left:
                    events = self.step()
                    others += [event for event in events if event.id not in mine]
                    for event in events:
                        if event.id in mine and event.error is not None:
                            raise event.error
                        if event.id in mine and event.completion is not None:
                            found[mine[event.id]] = event.completion
                            left -= 1
        finally:
            self._drop({row.id for row in rows if not row.is_over})
            self._events = others + [event for event in self._events if event.id not in mine]
        return [completion for completion in found if completion is not None]

    def step(self) -> list[Event]:
        """Admit who fits, draw one token for every running request, and tell what happened, in the order of the batch.

        An error of one request (logits that are not finite, a constraint without a way on) is told in its event, and
        the others go on; after an error of the model all running requests are told it. The engine stays usable.
        """
        with self.session():
            try:
                self._expire()
                self._admit()
                if self._rows:
                    self._draw()
                    self._tell()
                    self._feed()
            except Exception as error:
                self._fail_all(error)
            except BaseException:
                self._drop({row.id for row in self._rows})
                raise
        events, self._events = self._events, []
        return events

    @contextmanager
    def session(self) -> Iterator[None]:
        """What ``step`` needs around it, to be entered once for many: no dropout, no gradients, the right precision."""
        if self._in_session:
            yield
            return
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.policy.model))
            stack.enter_context(self.policy.autocast())
            stack.enter_context(torch.inference_mode())
            self._in_session = True
            try:
                yield
            finally:
                self._in_session = False

    def _expire(self) -> None:
        if self._has_deadlines:
            now, rows = self._clock(), (*self._waiting, *self._rows)
            self._end([row for row in rows if row.deadline is not None and row.deadline <= now], "deadline")
            self._has_deadlines = bool(self._waiting or self._rows)

    def _admit(self) -> None:
        count = num_fitting(
            self._waiting,
            self._rows,
            max_rows=self.max_rows,
            max_bytes=self.max_bytes,
            bytes_for=self.decoder.bytes_for,
        )
        if not count:
            return
        was_empty = not self._rows
        rows = [self._waiting.popleft() for _ in range(count)]
        self._rows += rows  # at once, so that an error finds them
        if was_empty:
            self.refresh_seconds += self.decoder.refresh()
        slots, logits = self.decoder.add(
            [row.request.prompt for row in rows], [row.params.max_new_tokens for row in rows], [r.adapter for r in rows]
        )
        for row, slot in zip(rows, slots, strict=True):
            row.slot = slot
            row.mark_seen(self.decoder.vocab_size)
        self._logits = torch.cat([self._logits, logits]) if len(self._rows) > count else logits
        self._changed()

    def _draw(self) -> None:
        """One token for every running row."""
        rows = self._rows
        mask = constraint_mask(rows, self._logits.device)
        uniform = torch.tensor([row.uniform() for row in rows], dtype=torch.float64).to(self.policy.device)
        logits, settings = self._logits, self._current_settings()
        drawn = draw_rows(logits, settings, uniform, seen=_seen(rows, logits), mask=mask)
        self._logits = torch.empty(0)  # they are spent; rows may leave without a copy
        _record(rows, drawn, logits)

    def _current_settings(self) -> Settings:
        if self._settings is None:
            self._settings = Settings([row.params for row in self._rows], self._logits.device)
        return self._settings

    def _tell(self) -> None:
        """Events of this step; rows that are over leave."""
        over = [i for i, row in enumerate(self._rows) if row.reason is not None or row.error is not None]
        events = (row.event() for row in self._rows if row.request.stream or row.reason or row.error)
        self._events += [event for event in events if event is not None]
        if over:
            self._leave(over)

    def _leave(self, places: Sequence[int]) -> None:
        gone = set(places)
        slots = [self._rows[i].slot for i in places]
        kept = [i for i in range(len(self._rows)) if i not in gone]
        if len(self._logits):
            self._logits = self._logits[torch.tensor(kept, dtype=torch.int64, device=self._logits.device)]
        self._rows = [self._rows[i] for i in kept]
        self._changed()
        self.decoder.remove([slot for slot in slots if slot >= 0])

    def _changed(self) -> None:
        self._settings = None
        self._slots = torch.tensor([row.slot for row in self._rows], dtype=torch.int64, device=self.policy.device)

    def _feed(self) -> None:
        """Feed what was drawn; rows whose next tokens are known take them all at once, where that saves work."""
        rows = self._rows
        if not rows:
            return
        leaps = [i for i, row in enumerate(rows) if row.forced and row.seen is None]
        saved = sum(len(rows[i].forced) for i in leaps)
        if self.decoder.can_extend and leaps and saved >= len(rows):
            self._leap(leaps)
            return
        tokens = torch.tensor([row.token_ids[-1] for row in rows], device=self.policy.device)
        self._logits = self.decoder.advance(self._slots, tokens)

    def _leap(self, leaps: Sequence[int]) -> None:
        rows, device = self._rows, self.policy.device
        known = [[rows[i].token_ids[-1], *rows[i].forced] for i in leaps]
        after = self.decoder.extend([rows[i].slot for i in leaps], known)
        ends = torch.tensor([len(tokens) for tokens in known], device=device).cumsum(0)
        steps = [rows[i] for i, tokens in zip(leaps, known, strict=True) for _ in tokens[1:]]
        before = torch.ones(len(after), dtype=torch.bool, device=device)
        before[ends - 1] = False
        forced = list(enumerate(token for tokens in known for token in tokens[1:]))
        logits = after[before]
        drawn = draw_rows(
            logits,
            Settings([row.params for row in steps], device),
            torch.zeros(len(steps), dtype=torch.float64, device=device),
            mask=(torch.arange(len(steps), device=device), lambda part: only(part, forced, part)),
        )
        _record(steps, drawn, logits)
        others = [i for i in range(len(rows)) if i not in set(leaps)]
        self._logits = after.new_empty(len(rows), after.shape[1])
        self._logits[torch.tensor(leaps, device=device)] = after[ends - 1]
        if others:
            tokens = torch.tensor([rows[i].token_ids[-1] for i in others], device=device)
            chosen = torch.tensor(others, device=device)
            self._logits[chosen] = self.decoder.advance(self._slots[chosen], tokens)

    # ---------------------------------------------------------------------------------------------------------- endings

    def _end(self, rows: Sequence[Row], reason: FinishReason) -> None:
        """End rows, waiting or running, with what they have."""
        for row in rows:
            row.reason = reason
            event = row.event()
            assert event is not None
            self._events.append(event)
        self._drop({row.id for row in rows})

    def _drop(self, ids: set[int]) -> None:
        """Forget requests and give their memory back, without an event."""
        if not ids:
            return
        self._waiting = deque(row for row in self._waiting if row.id not in ids)
        running = [i for i, row in enumerate(self._rows) if row.id in ids]
        if running:
            with torch.inference_mode():
                self._leave(running)

    def _fail_all(self, error: Exception) -> None:
        """After an error of the decoder no row's state can be trusted: all running requests end with it."""
        cause = told(error)
        rows, self._rows = self._rows, []
        self._logits = torch.empty(0)
        self._changed()
        for row in rows:
            row.error = cause
            self._events.append(Event(id=row.id, error=cause))
        self.decoder.remove([row.slot for row in rows if row.slot >= 0])


def _record(rows: Sequence[Row], drawn: Drawn, logits: Tensor) -> None:
    """Give every row its token; ``logits [B, V]`` are those that it was drawn from."""
    nothing = [0.0] * len(rows)
    masses = nothing if drawn.log_mass is None else drawn.log_mass.tolist()
    full = [None] * len(rows) if drawn.full_logprobs is None else drawn.full_logprobs.tolist()
    columns = (drawn.tokens.tolist(), drawn.logprobs.tolist(), full, masses)
    for place, (row, token, logprob, full_logprob, mass) in enumerate(zip(rows, *columns, strict=True)):
        if row.error is not None:
            continue
        if logprob != logprob:
            row.error = nothing_drawn(row, logits[place])
            continue
        try:
            row.take(token, logprob, full_logprob, mass)
        except ConstraintError as error:
            row.error = error


def _seen(rows: Sequence[Row], logits: Tensor) -> Tensor | None:
    seen = [row.seen for row in rows if row.seen is not None]
    return torch.stack(seen).to(logits.device) if seen else None
