"""Texts written under constraints by random logits, on small vocabularies; shared by the constraint tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from strop.chat.template import ChatTemplate
from strop.constraints import CompiledConstraint, Matcher, Vocabulary, compile_constraint
from strop.models import Policy
from strop.types import Constraint
from tiny_models import CHATML, CONTROL


@cache
def tiny_vocabulary() -> Vocabulary:
    """The embedded base's 768 tokens."""
    return Vocabulary.of(Policy.load("strop:tiny").template)


@cache
def big_vocabulary() -> Vocabulary:
    """A byte-level BPE of up to 8,000 tokens, trained on this project's own sources."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=32,
        show_progress=False,
    )
    root = Path(__file__).parent.parent
    texts = [path.read_text(encoding="utf-8") for path in sorted((root / "src").rglob("*.py"))]
    tokenizer.train_from_iterator([*texts, json.dumps({"a": [{}, [], "x", True, None, 1.5]})], trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", bos_token="<|bos|>"
    )
    fast.chat_template = CHATML
    template = ChatTemplate.from_tokenizer(fast)
    return Vocabulary.of(template, template.vocab_size + 40)  # the model's vocabulary has a tail


def compiled(value: Any, vocabulary: Vocabulary | None = None, *, kind: Any = "json_schema", strict: bool = True):
    return compile_constraint(Constraint(kind=kind, value=value, strict=strict), vocabulary or tiny_vocabulary())


def write(language: CompiledConstraint, budget: int, seed: int) -> tuple[str, bool, tuple[int, ...]]:
    """A text drawn from random logits, whether its stop token came within the budget, and its tokens."""
    *_, (matcher, token_ids) = drawn(language, budget, seed)
    return language.vocabulary.template.decode(token_ids), matcher.is_finished, tuple(token_ids)


def drawn(language: CompiledConstraint, budget: int, seed: int) -> Iterator[tuple[Matcher, list[int]]]:
    """The matcher and the tokens so far, after every token."""
    generator = torch.Generator().manual_seed(seed)
    matcher, token_ids = language.matcher(), []
    for taken in range(budget):
        allowed = matcher.allowed(budget - taken)
        logits = torch.randn(allowed.shape[0], generator=generator) * 3
        token = int(torch.multinomial(logits.masked_fill(~allowed, -torch.inf).softmax(-1), 1, generator=generator))
        matcher.consume(token)
        token_ids.append(token)
        yield matcher, token_ids
        if matcher.is_finished:
            return
