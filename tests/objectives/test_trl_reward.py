"""The same scores through TRL's reward trainer, and a process label as TRL's two-class token classification has it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from random_batches import descend, random_rows
from strop.batches import collate
from strop.objectives import BradleyTerry, StepLabel
from strop.segments import last_of_each
from strop.types import Sample
from trl_stand_in import stand_in

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def theirs(rows: list[Sample], center: float | None, margins: bool) -> tuple[float, Tensor, dict[str, float]]:
    """TRL's loss of the pairs, its gradient in every row's score, and its metrics."""
    from trl.trainer.reward_trainer import RewardTrainer

    ordered = rows[0::2] + rows[1::2]
    scores = torch.tensor([last_score(sample) for sample in ordered], dtype=torch.float64, requires_grad=True)

    class Model:
        training = True

        def __call__(self, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(logits=scores[:, None])

    trainer = stand_in(args=SimpleNamespace(center_rewards_coefficient=center))
    inputs = {"input_ids": torch.ones(1), "attention_mask": torch.ones(1)}
    if margins:
        inputs["margin"] = torch.tensor([sample.facts["margins"] for sample in rows[0::2]])
    loss = RewardTrainer.compute_loss(trainer, Model(), inputs)
    (gradient,) = torch.autograd.grad(loss, scores)
    half = len(rows) // 2
    by_row = torch.stack([gradient[:half], gradient[half:]], 1).flatten()
    return loss.item(), by_row, {name: values[0] for name, values in trainer._metrics["train"].items()}


def last_score(sample: Sample) -> float:
    return [s for s, trained in zip(sample.streams["scores"], sample.loss_mask, strict=True) if trained][-1]


@pytest.mark.capability("PR-05")
@pytest.mark.parametrize("center", [None, 0.01, 0.3])
@pytest.mark.parametrize("margins", [False, True])
def test_bradley_terry_equals_trls_with_margins_and_centring(center: float | None, margins: bool) -> None:
    rows = random_rows(0, num_groups=5)
    if not margins:
        for sample in rows:
            del sample.facts["margins"]  # type: ignore[attr-defined]
    loss, gradient, metrics = theirs(rows, center, margins)
    ours = descend(BradleyTerry(center=center or 0.0), rows)
    batch = collate(rows)
    at_the_end = last_of_each(batch.loss_mask, batch.sequence_ids)
    assert ours.value == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(ours.gradient_of("scores")[at_the_end], gradient, rtol=1e-4, atol=1e-7)
    assert not ours.gradient_of("scores")[~at_the_end].any()
    assert ours.metrics["accuracy"] == pytest.approx(metrics["accuracy"])
    assert ours.metrics["margin"] == pytest.approx(metrics["margin"], rel=1e-4)
    assert ours.metrics["score"] == pytest.approx(metrics["mean_reward"], rel=1e-4)


def test_trl_counts_a_tie_as_wrong_and_ours_as_half() -> None:
    """Ours is right where scores can tie: a head that starts at 0 knows nothing, which is 0.5 and not 0."""
    rows = random_rows(1)
    for sample in rows:
        sample.streams["scores"] = [0.0] * len(sample.token_ids)  # type: ignore[index]
    assert theirs(rows, None, False)[2]["accuracy"] == 0.0
    assert descend(BradleyTerry(), rows).metrics["accuracy"] == 0.5


@pytest.mark.capability("RS-09")
def test_a_step_label_equals_the_two_class_cross_entropy_of_token_classification() -> None:
    # TRL's process reward trainer is the token classification of transformers: softmax over two logits is a sigmoid of
    # their difference, and its mean runs over the tokens that are not -100.
    from transformers.loss.loss_utils import ForTokenClassification

    rows = random_rows(2)
    batch = collate(rows)
    scores = batch.streams["scores"].double()
    two = torch.stack([-0.3 * scores, 0.7 * scores], -1).requires_grad_()
    labels = torch.where(batch.loss_mask, batch.streams["labels"].long(), -100)
    loss = ForTokenClassification(two[None], labels[None], SimpleNamespace(num_labels=2))
    (gradient,) = torch.autograd.grad(loss, two)
    ours = descend(StepLabel(), rows)
    assert ours.value == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(ours.gradient_of("scores"), gradient[:, 1].double(), rtol=1e-4, atol=1e-6)
