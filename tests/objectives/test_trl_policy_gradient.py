"""The same padded rows through TRL's own loss code: equal values, gradients and metrics.

TRL's trainers take about ten seconds to import, hence `slow`. Their loss methods are called on a stand-in trainer whose
"model" returns given log-probabilities, so that only the loss is compared.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from random_batches import Descent, descend, random_rows
from strop.objectives import PolicyGradient, dr_grpo, grpo
from strop.types import Sample
from trl_stand_in import padded, stand_in, unpadded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def trl_grpo(rows: list[Sample], *, on_policy: bool = False, **settings: Any) -> tuple[Descent, dict[str, float]]:
    from trl.trainer.grpo_trainer import GRPOTrainer

    logprobs = padded(rows, "logprobs").requires_grad_()
    mask = padded(rows, "loss_mask")
    args = SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1)
    trainer = stand_in(
        **{"importance_sampling_level": "token", "beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.2, **settings},
        args=args,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, padded(rows, "entropy"), None),
    )
    inputs = {
        "prompt_ids": mask[:, :0],
        "prompt_mask": mask[:, :0],
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": torch.tensor([sample.streams["advantages"][0] for sample in rows]),
        "old_per_token_logps": None if on_policy else padded(rows, "old_logprobs"),
        "ref_per_token_logps": padded(rows, "ref_logprobs"),
        "num_items_in_batch": mask.sum(),
    }
    loss = GRPOTrainer._compute_loss(trainer, None, inputs)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    return Descent(loss.item(), metrics, {"all": unpadded(gradient, rows)}), metrics


CASES: dict[str, tuple[PolicyGradient, dict[str, Any]]] = {
    "grpo": (grpo(), {"loss_type": "grpo"}),
    "grpo with k3": (grpo(kl="k3", beta=0.04), {"loss_type": "grpo", "beta": 0.04}),
    "dr_grpo": (dr_grpo(constant_length=16), {"loss_type": "dr_grpo", "max_completion_length": 16}),
    "token mean": (PolicyGradient(aggregate="token_mean"), {"loss_type": "bnpo"}),
    "clip-higher": (
        PolicyGradient(aggregate="token_mean", clip_high=0.28),
        {"loss_type": "dapo", "epsilon_high": 0.28},
    ),
    "sequence ratio": (
        PolicyGradient(ratio="sequence", clip_low=0.1, clip_high=0.15),
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 0.1, "epsilon_high": 0.15},
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_gradient_equals_trls(name: str, seed: int) -> None:
    objective, settings = CASES[name]
    rows = random_rows(seed, num_groups=4)
    theirs, metrics = trl_grpo(rows, **settings)
    ours = descend(objective, rows)
    assert ours.value == pytest.approx(theirs.value, rel=1e-5)
    torch.testing.assert_close(ours.gradient.float(), theirs.gradient, rtol=1e-4, atol=1e-6)
    assert ours.metrics["entropy"] == pytest.approx(metrics["entropy"], rel=1e-5)
    if objective.ratio == "token":  # TRL counts sequences, not tokens, for sequence ratios
        assert ours.metrics["clip_fraction_low"] == pytest.approx(metrics["clip_ratio/low_mean"], abs=1e-6)
        assert ours.metrics["clip_fraction_high"] == pytest.approx(metrics["clip_ratio/high_mean"], abs=1e-6)
    if objective.kl is not None:
        assert ours.metrics["ref_kl"] == pytest.approx(metrics["kl"], rel=1e-5)


def test_the_first_update_without_old_logprobs_equals_trls() -> None:
    rows = random_rows(4)
    theirs, _ = trl_grpo(rows, on_policy=True, loss_type="grpo")
    without = [replace(s, streams={k: v for k, v in s.streams.items() if k != "old_logprobs"}) for s in rows]
    ours = descend(grpo(), without)
    assert ours.value == pytest.approx(theirs.value, rel=1e-5)
    torch.testing.assert_close(ours.gradient.float(), theirs.gradient, rtol=1e-4, atol=1e-6)
