"""Rows of random ids, a resumable stream over them, and small policies: what the training tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from strop.batches import collate
from strop.models import adapters
from strop.models.adapters import LoRA
from strop.models.policy import Policy
from strop.objectives import CrossEntropy
from strop.training import AdamW, latest_checkpoint, train
from strop.types import Batch, Sample
from tiny_models import make_config

VOCAB_SIZE = 64


def make_policy(*, lora: LoRA | None = None, seed: int = 0, family: str = "llama") -> Policy:
    """A fresh random policy without a folder; the same for the same seed."""
    torch.manual_seed(seed)
    model: Any = transformers.AutoModelForCausalLM.from_config(make_config(family, VOCAB_SIZE), dtype=torch.float32)
    model.eval()
    if lora is not None:
        model = adapters.attach(model, lora, seed=seed)
    template: Any = SimpleNamespace(digest="no template")
    return Policy(model, template, lora=lora)


def make_rows(count: int, *, seed: int = 0, longest: int = 24) -> list[Sample]:
    """Rows of 4 to ``longest`` random ids, about two thirds of them trained."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for row in range(count):
        length = int(torch.randint(4, longest + 1, (), generator=generator))
        ids = torch.randint(0, VOCAB_SIZE, (length,), generator=generator).tolist()
        mask = (torch.rand(length, generator=generator) < 0.67).tolist()
        rows.append(Sample(name=f"row-{row}", token_ids=tuple(ids), loss_mask=(False, *mask[1:-1], True)))
    return rows


def make_stream(
    rows: Sequence[Sample], *, batch_size: int = 8, seed: int = 0, limit: int | None = None
) -> Callable[..., Iterator[Batch]]:
    """A stream over shuffled epochs whose cursor is the number of batches given."""

    def stream(policy: Policy, start: Mapping[str, Any] | None = None) -> Iterator[Batch]:
        given = int(start["given"]) if start else 0
        per_epoch = len(rows) // batch_size
        while limit is None or given < limit:
            order = torch.randperm(
                len(rows), generator=torch.Generator().manual_seed(seed + given // per_epoch)
            ).tolist()
            first = given % per_epoch * batch_size
            given += 1
            yield collate([rows[i] for i in order[first : first + batch_size]], cursor={"given": given})

    return stream


def train_to_the_end(folder: str) -> None:
    """Train 40 steps with a checkpoint every two, going on from what an earlier life left, and write the digest."""
    torch.set_num_threads(1)
    run = Path(folder)
    run.mkdir(exist_ok=True)
    policy = make_policy()
    optimizer = AdamW(lr=1e-2, schedule="cosine")
    resume = latest_checkpoint(run)
    for step in train(
        policy, make_stream(make_rows(24)), CrossEntropy(), optimizer=optimizer, num_steps=40, resume=resume
    ):
        with open(run / "log", "a") as log:
            log.write(f"{step.number}\n")
        if step.number % 2 == 0:
            step.save(run)
    (run / "digest").write_text(policy.digest())
