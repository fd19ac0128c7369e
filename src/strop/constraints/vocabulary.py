"""A tokenizer as the grammar engine sees it: every token's bytes, which tokens stop, and which may never be text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llguidance import LLTokenizer
from numpy.typing import NDArray

from strop.errors import VocabularyError

if TYPE_CHECKING:
    from strop.chat.template import ChatTemplate

MAX_TOKEN_BYTES = 1024
"""llguidance panics beyond it."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What constraints need to know of a tokenizer; build it with ``of``, once a tokenizer and model size."""

    template: ChatTemplate
    engine: LLTokenizer
    size: int
    """Columns of the model's logits; ids beyond the tokenizer's are never allowed."""
    digest: str
    stop_ids: tuple[int, ...]
    token_bytes: tuple[bytes, ...] = field(repr=False)
    """[size] empty for control tokens and for the tail without tokens."""

    @staticmethod
    def of(template: ChatTemplate, size: int | None = None) -> Vocabulary:
        """The vocabulary of a template's tokenizer for a model with ``size`` logits (default: the tokenizer's).

        Cached by the template's digest. Raises: VocabularyError for tokens over 1,024 bytes, for a tokenizer that
        cannot be read, one without a stop token, and for a model smaller than its tokenizer.
        """
        size = size or template.vocab_size
        key = (template.digest, size)
        if key not in _BUILT:
            _BUILT[key] = _build(template, size)
        return _BUILT[key]

    @property
    def num_words(self) -> int:
        """int32 words in a packed row of the mask."""
        return (self.size + 31) // 32

    def pack(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """[num_words] the packed mask in which exactly ``ids`` are set."""
        bits = np.zeros(self.num_words * 32, dtype=np.uint8)
        bits[ids] = 1
        return np.packbits(bits, bitorder="little").view(np.int32)

    def unpack(self, row: NDArray[np.int32]) -> NDArray[np.int64]:
        """The ids that are set in a packed row, ascending."""
        return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))

    def spell(self, text: str) -> list[int]:
        """Tokens for the bytes of ``text``, one each where there is one, none of them a control token."""
        alone = self._alone
        data = text.encode()
        if all(byte in alone for byte in data):
            return [alone[byte] for byte in data]
        return [int(token) for token in self.engine.greedy_tokenize(text)]

    @cached_property
    def _alone(self) -> dict[int, int]:
        """Byte → the first token that is just this byte."""
        tokens = [(text[0], token) for token, text in enumerate(self.token_bytes) if len(text) == 1]
        return dict(reversed(tokens))


_BUILT: dict[tuple[str, int], Vocabulary] = {}


def _build(template: ChatTemplate, size: int) -> Vocabulary:
    if size < template.vocab_size:
        raise VocabularyError(
            f"the model has {size} logits and the tokenizer {template.vocab_size} tokens",
            why="some tokens could never be drawn",
            do="use the tokenizer that the model was trained with",
        )
    backend = json.loads(template.tokenizer.backend_tokenizer.to_str())
    control = set(template.control_tokens)
    for token in backend["added_tokens"]:
        # an added token that is not special would count as plain text and could stand inside a JSON string
        token["special"] = token["special"] or token["content"] in control
    backend["truncation"] = backend["padding"] = None
    refuse_oversize(backend)
    stops = template.stop_token_ids
    if not stops:
        raise VocabularyError(
            "the tokenizer has no stop token",
            why="a constrained answer must be able to end",
            do="set eos_token, or use a template that closes the assistant's turn",
        )
    try:
        engine = LLTokenizer(json.dumps(backend, ensure_ascii=False), n_vocab=size, eos_token=list(stops))
    except BaseException as error:  # a Rust panic is not an Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise VocabularyError(
            "llguidance cannot read this tokenizer",
            why=str(error).splitlines()[0],
            do="use a byte-level or byte-fallback tokenizer saved as tokenizer.json",
        ) from error
    return Vocabulary(template, engine, size, template.digest, stops, _bytes_of(template, engine, size))


def refuse_oversize(backend: dict[str, Any]) -> None:
    """Raises: VocabularyError naming the first token longer than llguidance can hold (it panics there)."""
    words = backend["model"].get("vocab", {})
    for word in words if isinstance(words, dict) else (entry[0] for entry in words):
        # a character of a byte-level alphabet is one byte, but takes up to two in UTF-8
        if len(word) > MAX_TOKEN_BYTES:
            _oversize(word)
    for token in backend["added_tokens"]:
        if len(token["content"].encode()) > MAX_TOKEN_BYTES:
            _oversize(token["content"])


def _oversize(word: str) -> None:
    raise VocabularyError(
        f"the vocabulary has a token of {len(word)} characters, beginning {word[:24]!r}",
        why=f"llguidance takes tokens of at most {MAX_TOKEN_BYTES} bytes",
        do="train the tokenizer with max_token_length",
    )


def _bytes_of(template: ChatTemplate, engine: LLTokenizer, size: int) -> tuple[bytes, ...]:
    known = template.vocab_size
    return tuple(
        b"" if token >= known or engine.is_special_token(token) else bytes(engine.decode_bytes([token]))
        for token in range(size)
    )


@dataclass(frozen=True, eq=False)
class Ranks:
    """[size] each: how soon a token is tried when a text must end; a heuristic, it never decides what is allowed."""

    outside: NDArray[np.int32]
    """Outside strings: what only closes comes first, the longest before."""
    inside: NDArray[np.int32]
    """Inside strings: what begins with the closing quote; ``NEVER`` for everything else."""
    bytes_alone: NDArray[np.int64]
    """One token for each byte that has one of its own, ascending by byte."""


NEVER = 2**20


@lru_cache(maxsize=8)
def closing_ranks(vocabulary: Vocabulary) -> Ranks:
    """The ranks of a vocabulary's tokens."""
    outside = np.full(vocabulary.num_words * 32, NEVER, dtype=np.int32)
    inside = np.full(vocabulary.num_words * 32, NEVER, dtype=np.int32)
    alone = vocabulary._alone
    for token, text in enumerate(vocabulary.token_bytes):
        outside[token] = _rank(text)
        if text.startswith(b'"') and not text[1:].strip(b"}]"):
            inside[token] = 100 - min(len(text), 50)
    return Ranks(outside, inside, np.array([alone[byte] for byte in sorted(alone)], dtype=np.int64))


def _rank(text: bytes) -> int:
    if not text:
        return NEVER
    if not (text[2:] if text.startswith(b'""') else text).strip(b"}]"):
        return 100 - min(len(text), 50)
    early = (b",", b"0", b"1", b"null", b"true", b"{}", b"[]", b'"', b"[", b"{")
    if text in early:
        return 101 + early.index(text)
    if len(text) > 1:
        return 600 + min(len(text), 100)
    return 200 + text[0] if text.isalnum() else 400 + text[0] // 2
