"""One text being written under a constraint: which tokens may come next, and how it can still end in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from llguidance import LLExecutor, LLMatcher
from numpy.typing import NDArray
from torch import Tensor

from strop.constraints.closing import restrict, witness_of
from strop.constraints.guard import Guard
from strop.errors import ConstraintError

if TYPE_CHECKING:
    from strop.constraints.compiled import CompiledConstraint

Row = NDArray[np.int32]


class Matcher:
    """The state of one text; made by ``CompiledConstraint.matcher``. Not for several threads at once."""

    __slots__ = ("_engine", "_finished", "_guards", "_need", "_since", "_witness", "compiled", "guard")

    def __init__(self, compiled: CompiledConstraint, engine: LLMatcher, guard: Guard | None) -> None:
        self.compiled = compiled
        self.guard = guard
        """None for languages that are not JSON."""
        self._engine = engine
        self._guards: list[Guard | None] = []
        self._finished = False
        self._witness: tuple[int, ...] | None = None
        """A completion that was right at the last look; exact while ``_since`` is 0."""
        self._need = 0
        """Its length with the stop token."""
        self._since = 0
        """Tokens taken since, other than the witness's own."""

    # ------------------------------------------------------------------------------------------------ the next token

    def allowed(self, remaining: int | None = None) -> Tensor:
        """[V] bool: the tokens that may come next.

        ``remaining`` counts the tokens left in the budget, the stop token included: then only tokens stay from which
        the text can still end in time (see ``closing.py``). Raises: ConstraintError where no token is left, where the
        budget never sufficed, or where the engine gave up.
        """
        row = np.zeros(self.compiled.vocabulary.num_words, dtype=np.int32)
        self.fill(row, remaining)
        bits = np.unpackbits(row.view(np.uint8), bitorder="little")[: self.compiled.vocabulary.size]
        return torch.from_numpy(bits.astype(bool))

    def fill(self, row: Row | Tensor, remaining: int | None = None) -> None:
        """The same, packed: bit ``i % 32`` of ``row[i // 32]``, int32, contiguous, on the CPU."""
        if isinstance(row, Tensor):
            row = row.numpy()
        if self._finished:
            raise ConstraintError("the text is finished", why="its stop token was taken", do="remove the row")
        self._engine.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
        self._check_engine()
        guard = self.guard
        if guard is not None and (suspects := row & self.compiled.suspects.table[guard.suspicion]).any():
            self._forbid(row, suspects)
        if remaining is not None:
            restrict(self, row, remaining)
        if not row.any():
            raise _no_token()

    def _check_engine(self) -> None:
        if self._engine.is_error():
            raise _gave_up(self._engine)

    def _forbid(self, row: Row, suspects: Row) -> None:
        """Take out of ``row`` those of the packed ``suspects`` that would repeat a name or exceed a double."""
        guard, vocabulary = self.guard, self.compiled.vocabulary
        assert guard is not None
        for token in vocabulary.unpack(suspects).tolist():
            if guard.after(vocabulary.token_bytes[token]) is None:
                row[token // 32] &= ~np.int32(np.uint32(1 << (token % 32)).view(np.int32))

    def forced(self) -> tuple[int, ...]:
        """The tokens that must come next, spelt as the tokenizer would; empty where there is a choice.

        Where it is not empty, the mask offers exactly its first token: taking all of them without asking the model
        changes no sample, only what ``log_allowed_mass`` would have counted on the way.
        """
        if self._finished:
            return ()
        guard, taken = self.guard, []
        for token in self._engine.compute_ff_tokens():
            if guard is not None:
                guard = guard.after(self.compiled.vocabulary.token_bytes[token])
                if guard is None:
                    break
            taken.append(int(token))
        return tuple(taken)

    # ------------------------------------------------------------------------------------------------------ movement

    def consume(self, token_id: int) -> None:
        """Take a token. Raises: ConstraintError where it may not stand here; the matcher is then as before."""
        if token_id in self.compiled.stop_set:
            if self._finished or not self.is_accepting:
                raise self._unexpected(token_id)
            self._finished = True
            self._guards.append(self.guard)
            return
        guard = self.guard
        if guard is not None and not self._finished:
            guard = guard.after(self.compiled.vocabulary.token_bytes[token_id])
            if guard is None:
                raise self._unexpected(token_id)
        if self._finished or self._engine.try_consume_tokens([token_id]) != 1:
            raise self._unexpected(token_id)
        self._guards.append(self.guard)
        self.guard = guard
        if self._witness and self._since == 0 and self._witness[0] == token_id:
            self._witness = self._witness[1:]
            self._need -= 1
        else:
            self._since += 1

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens."""
        assert 0 <= num_tokens <= len(self._guards), f"{num_tokens} of {len(self._guards)} tokens cannot be taken back"
        if not num_tokens:
            return
        self.guard = self._guards[-num_tokens]
        del self._guards[-num_tokens:]
        in_engine = num_tokens - int(self._finished)
        self._finished = False
        if in_engine and not self._engine.rollback(in_engine):
            raise _gave_up(self._engine)
        self._witness, self._need, self._since = None, 0, 0

    def copy(self) -> Matcher:
        """An independent matcher in the same state."""
        twin = Matcher(self.compiled, self._engine.deep_copy(), self.guard)
        twin._guards = self._guards.copy()
        twin._finished = self._finished
        twin._witness, twin._need, twin._since = self._witness, self._need, self._since
        return twin

    @property
    def num_tokens(self) -> int:
        """Tokens taken so far."""
        return len(self._guards)

    @property
    def is_accepting(self) -> bool:
        """Whether the text may end here: exactly then stop tokens are allowed."""
        return bool(self._engine.is_accepting())

    @property
    def is_finished(self) -> bool:
        """Whether the stop token was taken."""
        return self._finished

    def completes(self, tokens: Sequence[int]) -> bool:
        """Whether ``tokens`` and then a stop token may come next."""
        if not tokens:
            return self.is_accepting
        return bool(self.completing(tokens[:1], tokens[1:]))

    def completing(self, candidates: Sequence[int], rest: Sequence[int]) -> list[int]:
        """Those of ``candidates`` after which ``rest`` and then a stop token may come."""
        end = [*rest, self.compiled.vocabulary.stop_ids[0]]
        found = [token for token in candidates if self._engine.validate_tokens([token, *end]) == len(end) + 1]
        if self.guard is None:
            return found
        stands: dict[Guard | None, bool] = {None: False}
        kept, depth = [], max(1, len(self.guard.frames))
        for token in found:
            guard = self.guard.after(self.compiled.vocabulary.token_bytes[token])
            if guard not in stands:
                assert guard is not None
                stands[guard] = self._may_stand(guard, rest, depth)
            if stands[guard]:
                kept.append(token)
        return kept

    def _may_stand(self, guard: Guard, tokens: Sequence[int], depth: int) -> bool:
        """Whether the guard lets ``tokens`` stand, which the grammar does.

        What stands after the object at ``depth`` is closed cannot repeat a name that these tokens make.
        """
        for token in tokens:
            following = guard.after(self.compiled.vocabulary.token_bytes[token])
            if following is None:
                return False
            if len(following.frames) < depth and self.num_tokens:
                break
            guard = following
        return True

    def need(self, limit: int) -> int:
        """How many tokens, the stop token included, a known completion takes; ``limit`` is when to search harder."""
        if self._witness is not None and self._since and self.completes(self._witness):
            self._since = 0
        if self._witness is None or self._since:
            self._witness = witness_of(self, limit)
            self._since = 0
        self._need = len(self._witness) + 1
        return self._need

    @property
    def need_bound(self) -> tuple[int, int] | None:
        """The need at the last look, and the tokens since; None before the first."""
        return None if self._witness is None else (self._need, self._since)

    def is_far(self, remaining: int) -> bool:
        """Whether every token of the grammar surely leaves enough, told without a look at the witness."""
        growth = self.compiled.closing.growth
        return growth > 0 and self._witness is not None and remaining > self._need + (self._since + 1) * growth

    @property
    def witness(self) -> tuple[int, ...]:
        """The completion that ``need`` counted."""
        assert self._witness is not None
        return self._witness

    def _unexpected(self, token_id: int) -> ConstraintError:
        text = self.compiled.vocabulary.template.tokenizer.decode([token_id])
        return ConstraintError(
            f"the token {token_id} ({text!r}) is not allowed after {self.num_tokens} tokens",
            why="the text would leave the constraint's language",
            do="draw from allowed()",
        )


def _no_token() -> ConstraintError:
    return ConstraintError(
        "no token is allowed here",
        why="the language has no continuation that this vocabulary can spell",
        do="loosen the constraint",
    )


def _gave_up(engine: LLMatcher) -> ConstraintError:
    return ConstraintError(
        "the grammar engine gave up", why=engine.get_error().splitlines()[0][:300], do="simplify the constraint"
    )


# -------------------------------------------------------------------------------------------------------------- batches


_EXECUTOR = LLExecutor()


def fill_batch(matchers: Sequence[Matcher | None], remaining: Sequence[int | None]) -> Tensor:
    """[B, words] the packed masks of a batch; a row without matcher allows everything.

    All matchers of one vocabulary, each at most once. Equals ``Matcher.fill`` row by row, but asks the grammar engine
    once for all. Raises: ConstraintError as ``Matcher.fill``, without telling of which row.
    """
    places = [i for i, matcher in enumerate(matchers) if matcher is not None]
    mine = [matcher for matcher in matchers if matcher is not None]
    if not mine:
        return torch.full((len(matchers), 0), -1, dtype=torch.int32)
    compiled = mine[0].compiled
    rows = np.full((len(matchers), compiled.vocabulary.num_words), -1, dtype=np.int32)
    for matcher in mine:
        if matcher.is_finished:
            matcher.fill(rows[0])  # raises
    asked = [(matcher._engine, place) for matcher, place in zip(mine, places, strict=True)]
    _EXECUTOR.unsafe_compute_mask_ptr(asked, rows.ctypes.data, rows.strides[0], len(rows))
    guards = [None if matcher is None else matcher.guard for matcher in matchers]
    for place in compiled.suspects.hits(guards, rows).tolist():
        matcher, guard = matchers[place], guards[place]
        assert matcher is not None
        assert guard is not None
        matcher._forbid(rows[place], rows[place] & compiled.suspects.table[guard.suspicion])
    for matcher, place in zip(mine, places, strict=True):
        matcher._check_engine()
        if (left := remaining[place]) is not None and not matcher.is_far(left):
            restrict(matcher, rows[place], left)
    if not rows.any(axis=1).all():
        raise _no_token()
    return torch.from_numpy(rows)


def apply(logits: Tensor, bitmask: Tensor) -> Tensor:
    """[B, V] the logits with −∞ where the bitmask ``[B, words]`` forbids; columns beyond the bitmask are forbidden.

    Every row without a bitmask of all ones loses its tail too: ids of the model that the tokenizer does not have.
    """
    bits = np.unpackbits(bitmask.numpy().view(np.uint8), axis=1, bitorder="little")[:, : logits.shape[1]]
    allowed = torch.from_numpy(bits.view(bool)).to(logits.device)
    if allowed.shape[1] < logits.shape[1]:
        allowed = torch.nn.functional.pad(allowed, (0, logits.shape[1] - allowed.shape[1]))
    return logits.masked_fill(~allowed, -torch.inf)


def log_allowed_mass(logits: Tensor, bitmask: Tensor) -> Tensor:
    """[B] log Z: the log of the probability that ``softmax(logits)`` gives to the allowed tokens, in nats.

    Summed over a completion it says how far the constraint bent the model (0: not at all): the constrained sampler
    draws from p(y_t)/Z_t, so it draws y with p(y)/ΠZ_t and not with p(y | y is valid).
    """
    logprobs = logits.float().log_softmax(-1)
    return apply(logprobs, bitmask).logsumexp(-1).clamp(max=0.0)
