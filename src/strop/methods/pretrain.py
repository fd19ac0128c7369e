"""Building the embedded base: a byte-level BPE and a Llama of about a million parameters, from generators only.

``strop base build`` runs this. The result is a plain Hugging Face folder. On one machine and one thread count the same
seed gives the same weights; across machines rounding differs, so a folder is known by its digest and its card.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from strop.chat import ChatTemplate
from strop.files import new_folder, write_json
from strop.models import hardware
from strop.types import Progress
from strop.worlds import corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTROL_TOKENS = (
    "<|pad|>",
    "<|end|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
)
VOCAB_SIZE = 768
TEMPLATE = Path(__file__).parent.parent / "models" / "tiny" / "chat_template.jinja"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of pre-training on one mixture."""

    name: str
    """Of the mixture's shares in ``corpus.SHARES``."""
    guess: float
    """Of the arithmetic answers, how many state a number without working it out."""
    num_steps: int
    rows_per_step: int
    learning_rate: float
    decays: bool = False
    """The last 40 % of the steps fall linearly to 3 % of the learning rate."""


PHASES = (
    Phase(name="mixed", guess=0.15, num_steps=2000, rows_per_step=8, learning_rate=3e-3),
    Phase(name="mixed", guess=0.15, num_steps=2500, rows_per_step=4, learning_rate=3e-3),
    Phase(name="copying", guess=0.15, num_steps=1500, rows_per_step=4, learning_rate=3e-3),
    Phase(name="skills", guess=0.15, num_steps=4500, rows_per_step=4, learning_rate=3e-3, decays=True),
    Phase(name="skills", guess=0.40, num_steps=900, rows_per_step=4, learning_rate=8e-4, decays=True),
    Phase(name="habits", guess=0.40, num_steps=600, rows_per_step=4, learning_rate=8e-4, decays=True),
    Phase(name="worlds", guess=0.48, num_steps=4000, rows_per_step=4, learning_rate=2e-3, decays=True),
    Phase(name="late", guess=0.46, num_steps=2000, rows_per_step=4, learning_rate=1.5e-3, decays=True),
)
"""Small steps on mixed text, copying until it sticks, skills until they are sure, then the habits (guesses, letters),
and last the easy levels of the other worlds beside all of it, those that are slow to come once more."""


@dataclass(frozen=True, kw_only=True)
class BaseSettings:
    """Everything that decides the base: about 23M tokens of it, three quarters of an hour on two idle cores."""

    mixture: str = "P1"
    seed: int = 0
    phases: tuple[Phase, ...] = PHASES
    tokenizer_documents: int = 20_000
    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    intermediate_size: int = 384
    row_length: int = 288
    weight_decay: float = 0.01
    warmup_steps: int = 60


def documents(settings: BaseSettings, number: int, start: int = 0) -> Iterator[list[corpus.Piece]]:
    """The endless corpus of phase ``number``; document i depends on (seed, number, i) only."""
    phase = settings.phases[number]
    mixture = corpus.mixture(settings.mixture, phase.name, guess=phase.guess)
    for row in itertools.count(start):
        yield corpus.document(mixture, random.Random(f"base/{settings.seed}/{number}/{row}"))


def train_tokenizer(settings: BaseSettings) -> PreTrainedTokenizerFast:
    """A byte-level BPE with single digits, pieces of at most 16 bytes, and the control tokens first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16,
        show_progress=False,
    )
    texts = ("".join(text for text, _ in pieces) for pieces in documents(settings, 0, start=10**9))
    plain = (_without_control(text) for text in itertools.islice(texts, settings.tokenizer_documents))
    tokenizer.train_from_iterator(plain, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=list(CONTROL_TOKENS[2:]),
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE.read_text()
    return fast


def _without_control(text: str) -> str:
    for token in CONTROL_TOKENS:
        text = text.replace(token, "\n")
    return text


def rows(settings: BaseSettings, tokenizer: PreTrainedTokenizerFast, number: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches: token ids ``[B, T]`` and loss weights ``[B, T]``, documents laid end to end and cut anywhere."""
    ids: list[int] = []
    weights: list[float] = []
    shape = (settings.phases[number].rows_per_step, settings.row_length)
    size = shape[0] * shape[1]
    stream = documents(settings, number)
    while True:
        while len(ids) < size:
            pieces = [piece for pieces in itertools.islice(stream, 64) for piece in pieces]
            encoded = tokenizer.backend_tokenizer.encode_batch_fast([text for text, _ in pieces])
            for (_, weight), found in zip(pieces, encoded, strict=True):
                ids.extend(found.ids)
                weights.extend([weight] * len(found.ids))
        yield torch.tensor(ids[:size]).view(shape), torch.tensor(weights[:size]).view(shape)
        del ids[:size], weights[:size]


def new_model(settings: BaseSettings, tokenizer: PreTrainedTokenizerFast) -> Any:
    """A randomly initialised ``LlamaForCausalLM`` with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config).train()


def _step_loss(model: Any, ids: Tensor, weights: Tensor) -> Tensor:
    logits = model(input_ids=ids, use_cache=False).logits
    losses = functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weight = weights[:, 1:].flatten()
    return (losses * weight).sum() / weight.sum()


def _rate(step: int, phase: Phase, warmup: int) -> float:
    """Warm-up, then flat, then perhaps the decay."""
    if step < warmup:
        return phase.learning_rate * (step + 1) / warmup
    flat = 0.6 * phase.num_steps
    if step < flat or not phase.decays:
        return phase.learning_rate
    return phase.learning_rate * (1 - 0.97 * (step - flat) / max(1.0, phase.num_steps - flat))


def pretrain(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    settings: BaseSettings,
    number: int,
    progress: Progress | None = None,
) -> list[float]:
    """Train in place through phase ``number``; returns the loss of every step."""
    phase = settings.phases[number]
    size = phase.rows_per_step * settings.row_length
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=phase.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True
    )
    losses, start = [], time.monotonic()
    for step, (ids, weights) in enumerate(itertools.islice(rows(settings, tokenizer, number), phase.num_steps)):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, phase, settings.warmup_steps)
        loss = _step_loss(model, ids, weights)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if progress is not None:
            speed = (step + 1) * size / (time.monotonic() - start)
            label = f"phase {number + 1} of {len(settings.phases)} ({phase.name})"
            progress(label, step + 1, phase.num_steps, {"loss": losses[-1], "tokens_per_s": speed})
    return losses


def build_base(folder: Path, settings: BaseSettings | None = None, progress: Progress | None = None) -> Path:
    """Train tokenizer and model and save them to ``folder`` in bf16, atomically, with the settings beside them."""
    settings = settings or BaseSettings()
    hardware.keep_freed_memory()
    tokenizer = train_tokenizer(settings)
    model = new_model(settings, tokenizer)
    for number in range(len(settings.phases)):
        pretrain(model, tokenizer, settings, number, progress)
    with new_folder(folder, replace=True) as temporary:
        model.to(torch.bfloat16).save_pretrained(temporary)
        ChatTemplate.from_tokenizer(tokenizer).save(temporary)
        write_json(temporary / "build.json", asdict(settings))
    return Path(folder)
