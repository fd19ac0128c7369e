"""The same pairs through TRL's own preference losses: equal values, gradients and metrics."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from random_batches import descend, random_rows
from strop.objectives import DPO
from trl_stand_in import padded, stand_in, unpadded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dpo_equals_trls(seed: int) -> None:
    from trl.trainer.dpo_trainer import DPOTrainer

    rows = random_rows(seed, num_groups=4)
    chosen_then_rejected = rows[0::2] + rows[1::2]
    mask = padded(chosen_then_rejected, "loss_mask")
    logprobs = padded(chosen_then_rejected, "logprobs").requires_grad_()
    ref = (padded(chosen_then_rejected, "ref_logprobs") * mask).sum(1)
    outputs = SimpleNamespace(
        log_probs=(logprobs * mask)[:, 1:],
        entropy=torch.zeros_like(mask)[:, 1:],
        mean_logits=torch.zeros_like(mask)[:, 1:],
        is_top1=torch.zeros_like(mask, dtype=torch.bool)[:, 1:],
    )
    trainer = stand_in(
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=0.3,
        use_weighting=False,
    )
    inputs = {
        "input_ids": torch.zeros_like(mask, dtype=torch.int64),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": ref[:4],
        "ref_rejected_logps": ref[4:],
    }
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, return_outputs=False)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    ours = descend(DPO(beta=0.3), rows)
    assert ours.value == pytest.approx(loss.item(), rel=1e-5)
    mine = torch.cat([ours.gradients[sample.name] for sample in chosen_then_rejected])
    torch.testing.assert_close(mine.float(), unpadded(gradient, chosen_then_rejected), rtol=1e-4, atol=1e-6)
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    assert ours.metrics["rewards_chosen"] == pytest.approx(metrics["rewards/chosen"], rel=1e-4)
    assert ours.metrics["rewards_rejected"] == pytest.approx(metrics["rewards/rejected"], rel=1e-4)
    assert ours.metrics["accuracy"] == pytest.approx(metrics["rewards/accuracies"])
    assert 0.3 * ours.metrics["margin"] == pytest.approx(metrics["rewards/margins"], rel=1e-4)
    assert ours.metrics["logps_chosen"] == pytest.approx(metrics["logps/chosen"], rel=1e-5)
