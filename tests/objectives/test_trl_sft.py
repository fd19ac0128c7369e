"""The same rows through TRL's own SFT loss: equal values and gradients, plain and for dynamic fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from random_batches import descend, random_rows
from strop.objectives import CrossEntropy, dft
from strop.types import Sample
from trl_stand_in import padded, stand_in, unpadded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def unweighted(seed: int) -> list[Sample]:
    """Random rows whose tokens all weigh the same: TRL knows no weights."""
    return [
        replace(row, streams={key: stream for key, stream in row.streams.items() if key != "weights"})
        for row in random_rows(seed, num_groups=4)
    ]


def trl_sft(rows: list[Sample], loss_type: str, num_items_in_batch: int | None) -> tuple[float, torch.Tensor]:
    """TRL's loss and its gradient with respect to every token's log-probability."""
    from trl.trainer.sft_trainer import SFTTrainer

    mask = padded(rows, "loss_mask")
    logprobs = padded(rows, "logprobs").requires_grad_()
    outputs = SimpleNamespace(
        log_probs=logprobs * mask,
        label_mask=mask,
        entropy=torch.zeros_like(mask),
        is_top1=torch.zeros_like(mask),
    )
    trainer = stand_in(
        args=SimpleNamespace(loss_type=loss_type, average_tokens_across_devices=False, max_length=None),
        compute_loss_func=None,
        label_smoother=None,
    )
    inputs = {"attention_mask": torch.ones_like(mask), "labels": mask}
    loss = SFTTrainer.compute_loss(trainer, lambda **_: outputs, inputs, num_items_in_batch=num_items_in_batch)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    return loss.item(), unpadded(gradient, rows)


@pytest.mark.parametrize(("loss_type", "objective"), [("nll", CrossEntropy()), ("dft", dft())])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_supervised_fine_tuning_equals_trls(loss_type: str, objective: CrossEntropy, seed: int) -> None:
    rows = unweighted(seed)
    value, gradient = trl_sft(rows, loss_type, None)
    ours = descend(objective, rows)
    assert ours.value == pytest.approx(value, rel=1e-5)
    torch.testing.assert_close(ours.gradient.float(), gradient, rtol=1e-5, atol=1e-7)


def test_micro_batches_add_up_in_trl_only_when_it_is_told_the_steps_tokens() -> None:
    rows = unweighted(5)
    whole = descend(CrossEntropy(), rows).value
    total = sum(sum(row.loss_mask) for row in rows)
    told = sum(trl_sft(piece, "nll", total)[0] for piece in (rows[:1], rows[1:]))
    untold = sum(trl_sft(piece, "nll", None)[0] for piece in (rows[:1], rows[1:])) / 2
    assert told == pytest.approx(whole, rel=1e-5)
    assert untold != pytest.approx(whole, rel=1e-3)
    assert descend(CrossEntropy(), rows, max_tokens=1).value == pytest.approx(whole)
