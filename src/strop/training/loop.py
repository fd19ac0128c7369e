"""The one training loop. It serves every method and knows none of them."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from strop import batches
from strop.errors import CheckpointError, DataError
from strop.models import hardware
from strop.models.policy import Policy
from strop.training import checkpoint, guards
from strop.training.optimizer import AdamW, load_moments, moments
from strop.types import Batch, Objective, Stream


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimizer step that has been taken."""

    number: int
    """1 for the first."""
    num_steps: int
    loss: float
    metrics: dict[str, float]
    """What the stream and the objective measured."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    num_tokens: int
    num_trained_tokens: int
    seconds: float
    """Wall time of the step, with the making of its batch."""
    write: Callable[[Path, int], Path] = field(repr=False)

    def save(self, folder: Path | str, keep: int = 2) -> Path:
        """Write ``folder/step_N``, from which ``train(resume=...)`` goes on exactly; the newest ``keep`` stay.

        Raises: OutputError; CheckpointError if the loop is already past this step; NonFiniteError for broken weights.
        """
        return self.write(Path(folder), keep)


def train(
    policy: Policy,
    stream: Stream,
    objective: Objective,
    *,
    optimizer: AdamW,
    num_steps: int,
    micro_batch_tokens: int | None = None,
    seed: int = 0,
    resume: Path | str | None = None,
    may_change: Collection[str] = (),
    identity: str = "",
) -> Iterator[Step]:
    """Descend ``objective`` on the batches of ``stream``, one optimizer step a batch; yields each step once taken.

    ``micro_batch_tokens`` bounds what is run at once and changes nothing beyond rounding; by default it follows from
    the free memory. ``resume`` is a checkpoint folder, and ``may_change`` names what may differ from the run that
    wrote it, for example ``("optimizer",)``; ``identity`` stands for the data and settings that the loop cannot see.

    Raises: NonFiniteError, MemoryLimitError, DataError if the stream ends early, MismatchError and CheckpointError on
    resume.
    """
    run = _Run(policy, objective, optimizer, num_steps, micro_batch_tokens, seed, identity)
    cursor = run.resume(resume, may_change) if resume is not None else None
    source = iter(stream(policy, start=cursor))
    while run.completed < num_steps:
        began = time.perf_counter()
        batch = next(source, None)
        if batch is None:
            raise DataError(
                f"the stream ended after {run.completed} of {num_steps} steps",
                why="every step needs a batch",
                do="give more data or epochs, or ask for fewer steps",
            )
        yield run.step(batch, began)


class _Run:
    """The state between steps: weights and moments, and how many steps are done."""

    def __init__(
        self,
        policy: Policy,
        objective: Objective,
        settings: AdamW,
        num_steps: int,
        micro_batch_tokens: int | None,
        seed: int,
        identity: str,
    ) -> None:
        self.policy, self.objective, self.settings = policy, objective, settings
        self.num_steps, self.seed, self.completed = num_steps, seed, 0
        self.parameters = policy.trainable()
        self.optimizer = settings.build(self.parameters)
        self.asked_tokens = micro_batch_tokens
        self.micro_batch_tokens = micro_batch_tokens or hardware.memory_plan(policy).micro_batch_tokens
        self.fingerprint = _fingerprint(policy, objective, settings, num_steps, seed, identity)

    def resume(self, path: Path | str, may_change: Collection[str]) -> Mapping[str, Any]:
        saved = checkpoint.read(path)
        checkpoint.require_same_run(saved.fingerprint, self.fingerprint, path, may_change=may_change)
        self.policy.load_state(dict(saved.policy))
        load_moments(self.optimizer, self.parameters, saved.optimizer)
        self.completed = saved.step
        # Another split would round differently, and the resumed run would not be the same to the bit.
        self.micro_batch_tokens = self.asked_tokens or saved.micro_batch_tokens
        return saved.cursor

    def step(self, batch: Batch, began: float) -> Step:
        pieces = [
            batches.to_device(piece, self.policy.device) for piece in batches.split(batch, self.micro_batch_tokens)
        ]
        totals = add_up(self.objective.count(piece) for piece in pieces)
        self.optimizer.zero_grad(set_to_none=True)
        loss, metrics = 0.0, dict[str, float]()
        with hardware.memory_advice(self.micro_batch_tokens):
            for index, piece in enumerate(pieces):
                value, measured = self._backward(piece, totals, index)
                loss += value
                metrics = add_up((metrics, measured))
            grad_norm = self._clip()
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            guards.require_finite_weights(self.completed, self.parameters)
            names = guards.culprits(pieces, self.parameters, lambda piece: self._backward(piece, totals, 0)[0])
            raise guards.non_finite(self.completed + 1, loss, grad_norm, names, batch.names)
        with hardware.memory_advice(self.micro_batch_tokens):
            learning_rate = self._descend()
        return Step(
            number=self.completed,
            num_steps=self.num_steps,
            loss=loss,
            metrics={**batch.metrics, **metrics},
            learning_rate=learning_rate,
            grad_norm=grad_norm,
            num_tokens=batch.num_tokens,
            num_trained_tokens=int(batch.loss_mask.sum()),
            seconds=time.perf_counter() - began,
            write=self._writer(batch.cursor),
        )

    def _backward(self, piece: Batch, totals: Mapping[str, float], index: int) -> tuple[float, dict[str, float]]:
        with self.policy.dropout(_counter_seed(self.seed, self.completed, index)):
            outputs = self.policy.forward(piece, self.objective.needs, temperature=self.objective.temperature)
        loss = self.objective(outputs, piece, totals)
        if loss.value.requires_grad:
            loss.value.backward()  # type: ignore[no-untyped-call]
        return float(loss.value.detach()), {name: float(value) for name, value in loss.metrics.items()}

    def _clip(self) -> float:
        trained = [p for p in self.parameters.values() if p.grad is not None]
        return float(torch.nn.utils.clip_grad_norm_(trained, self.settings.max_grad_norm))

    def _descend(self) -> float:
        learning_rate = self.settings.learning_rate(self.completed, self.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.completed += 1
        return learning_rate

    def _writer(self, cursor: Mapping[str, Any]) -> Callable[[Path, int], Path]:
        number = self.completed

        def write(folder: Path, keep: int) -> Path:
            if self.completed != number:
                raise CheckpointError(
                    f"step {number} can no longer be saved",
                    why=f"the weights are already those of step {self.completed}",
                    do="save a step before asking the loop for the next one",
                )
            guards.require_finite_weights(number, self.parameters)
            return checkpoint.write(folder, self._checkpoint(cursor), keep=keep)

        return write

    def _checkpoint(self, cursor: Mapping[str, Any]) -> checkpoint.Checkpoint:
        return checkpoint.Checkpoint(
            step=self.completed,
            cursor=cursor,
            fingerprint=self.fingerprint,
            micro_batch_tokens=self.micro_batch_tokens,
            policy=self.policy.state(),
            optimizer=moments(self.optimizer, self.parameters),
        )


def add_up(parts: Iterator[Mapping[str, float]] | tuple[Mapping[str, float], ...]) -> dict[str, float]:
    """The sums of ``parts`` by key."""
    total: dict[str, float] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0.0) + float(value)
    return total


def _counter_seed(seed: int, step: int, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"dropout/{seed}/{step}/{index}".encode()).digest()[:7], "big")


def _fingerprint(
    policy: Policy, objective: Objective, settings: AdamW, num_steps: int, seed: int, identity: str
) -> dict[str, Any]:
    return {
        "identity": identity,
        "objective": repr(objective),
        "optimizer": {**asdict(settings), "betas": list(settings.betas)},
        "num_steps": num_steps,
        "seed": seed,
        "template": policy.template.digest,
        "lora": None if policy.lora is None else repr(policy.lora),
        "base": None if policy.lora is None else policy.base_digest(),
        "dtype": str(policy.dtype),
    }
