"""The same padded rows through TRL's own loss code: equal values, gradients and metrics, and each difference pinned.

TRL's trainers take about ten seconds to import, hence `slow`. Their loss methods are called on a stand-in trainer whose
"model" returns given log-probabilities, so that only the loss is compared. TRL 1.16 has no PPO trainer and no LUFFY:
the clipped value loss and the policy shaping are compared with plain loops only.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from random_batches import Descent, descend, masked_out, random_rows, row
from strop.objectives import ImportanceCorrection, PolicyGradient, cispo, dapo, dr_grpo, grpo, gspo, rloo
from strop.types import Sample
from trl_stand_in import padded, stand_in, unpadded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def trl_grpo(
    rows: list[Sample],
    *,
    on_policy: bool = False,
    use_bias_correction_kl: bool = False,
    delta: float | None = None,
    weights: Tensor | None = None,
    **settings: Any,
) -> tuple[Descent, dict[str, float]]:
    """TRL's GRPO loss and its gradients with respect to log-probabilities and entropies, and TRL's metrics."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    logprobs, entropy = padded(rows, "logprobs").requires_grad_(), padded(rows, "entropy").requires_grad_()
    mask = padded(rows, "loss_mask")
    given = {"importance_sampling_level": "token", "beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.2}
    trainer = stand_in(
        **{**given, "_entropy_bonus_enabled": False, "use_adaptive_entropy": False, **settings},
        args=SimpleNamespace(use_bias_correction_kl=use_bias_correction_kl, delta=delta, steps_per_generation=1),
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=weights is not None,
        vllm_importance_sampling_correction=True,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, entropy, None),
    )
    trainer.accelerator.sync_gradients = True
    inputs = {
        "prompt_ids": mask[:, :0],
        "prompt_mask": mask[:, :0],
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": torch.tensor([sample.streams["advantages"][0] for sample in rows]),
        "old_per_token_logps": None if on_policy else padded(rows, "old_logprobs"),
        "ref_per_token_logps": padded(rows, "ref_logprobs"),
        "num_items_in_batch": mask.sum(),
        "importance_sampling_ratio": weights,
    }
    loss = GRPOTrainer._compute_loss(trainer, None, inputs)
    by_logprob, by_entropy = torch.autograd.grad(loss, [logprobs, entropy], allow_unused=True)
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    by_entropy = torch.zeros_like(entropy) if by_entropy is None else by_entropy
    by_output = {"entropy": {"all": unpadded(by_entropy, rows)}}
    return Descent(loss.item(), metrics, {"all": unpadded(by_logprob, rows)}, by_output), metrics


def assert_equal(ours: Descent, theirs: Descent) -> None:
    assert ours.value == pytest.approx(theirs.value, rel=1e-5, abs=1e-7)
    torch.testing.assert_close(ours.gradient.float(), theirs.gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.gradient_of("entropy").float(), theirs.gradient_of("entropy"), rtol=1e-4, atol=1e-6)


SEQUENCE = {"loss_type": "grpo", "importance_sampling_level": "sequence"}
CASES: dict[str, tuple[PolicyGradient, dict[str, Any]]] = {
    "grpo": (grpo(), {"loss_type": "grpo"}),
    "grpo with k3": (grpo(kl="k3", beta=0.04), {"loss_type": "grpo", "beta": 0.04}),
    "grpo with the KL weighted by the ratio": (
        PolicyGradient(kl="k3", beta=0.04, kl_weight="ratio"),
        {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": True},
    ),
    "dual clip": (
        PolicyGradient(surrogate="dual_clip", clip_low=0.1, clip_high=0.1, dual_clip=1.3),
        {"loss_type": "grpo", "epsilon_low": 0.1, "epsilon_high": 0.1, "delta": 1.3},
    ),
    "dr_grpo": (dr_grpo(constant_length=16), {"loss_type": "dr_grpo", "max_completion_length": 16}),
    "token mean": (PolicyGradient(aggregate="token_mean"), {"loss_type": "bnpo"}),
    "dapo": (dapo(), {"loss_type": "dapo", "epsilon_high": 0.28}),
    "gspo": (gspo(), {**SEQUENCE, "epsilon_low": 3e-4, "epsilon_high": 4e-4}),
    "gspo with a wide range": (
        gspo(clip_low=0.1, clip_high=0.15),
        {**SEQUENCE, "epsilon_low": 0.1, "epsilon_high": 0.15},
    ),
    "luspo": (
        PolicyGradient(ratio="sequence", aggregate="sequence_sum"),
        {**SEQUENCE, "loss_type": "luspo"},
    ),
    "cispo": (cispo(clip_high=0.2), {"loss_type": "cispo", "epsilon_high": 1.2}),
    "entropy bonus": (
        PolicyGradient(aggregate="token_mean", entropy_weight=0.05),
        {"loss_type": "bnpo", "_entropy_bonus_enabled": True, "entropy_coef": 0.05},
    ),
}


@pytest.mark.capability("RL-04", "RL-09", "RL-10", "RL-12", "RL-14", "RL-15", "RL-17")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_gradient_equals_trls(name: str, seed: int) -> None:
    objective, settings = CASES[name]
    rows = random_rows(seed, num_groups=4)
    theirs, metrics = trl_grpo(rows, **settings)
    ours = descend(objective, rows)
    assert_equal(ours, theirs)
    assert ours.metrics["entropy"] == pytest.approx(metrics["entropy"], rel=1e-5)
    if objective.ratio == "token" and objective.surrogate == "clip":
        assert ours.metrics["clip_fraction_low"] == pytest.approx(metrics["clip_ratio/low_mean"], abs=1e-6)
        assert ours.metrics["clip_fraction_high"] == pytest.approx(metrics["clip_ratio/high_mean"], abs=1e-6)
    if objective.kl is not None:
        assert ours.metrics["ref_kl"] == pytest.approx(metrics["kl"], rel=1e-5)


@pytest.mark.capability("AB-ratio-1-on-first-step")
def test_the_first_update_without_old_logprobs_equals_trls() -> None:
    rows = random_rows(4)
    theirs, _ = trl_grpo(rows, on_policy=True, loss_type="grpo")
    without = [replace(s, streams={k: v for k, v in s.streams.items() if k != "old_logprobs"}) for s in rows]
    assert_equal(descend(grpo(), without), theirs)


def trl_rloo(rows: list[Sample]) -> tuple[Descent, dict[str, float]]:
    from trl.trainer.rloo_trainer import RLOOTrainer

    logprobs, mask = padded(rows, "logprobs").requires_grad_(), padded(rows, "loss_mask")
    trainer = stand_in(
        epsilon_low=0.2,
        epsilon_high=0.2,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, padded(rows, "entropy"), None),
    )
    inputs = {
        "prompt_ids": mask[:, :0],
        "prompt_mask": mask[:, :0],
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": torch.tensor([sample.streams["advantages"][0] for sample in rows]),
        "old_logps": (padded(rows, "old_logprobs") * mask).sum(1),
    }
    loss = RLOOTrainer._compute_loss(trainer, None, inputs)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    return Descent(loss.item(), metrics, {"all": unpadded(gradient, rows)}), metrics


@pytest.mark.capability("RL-13")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rloo_equals_trls(seed: int) -> None:
    rows = random_rows(seed, num_groups=4)
    theirs, _ = trl_rloo(rows)
    ours = descend(rloo(), rows)
    assert ours.value == pytest.approx(theirs.value, rel=1e-5)
    torch.testing.assert_close(ours.gradient.float(), theirs.gradient, rtol=1e-4, atol=1e-6)


# ----------------------------------------------------------------------------------------- sampler and trainer disagree


def trl_weights(rows: list[Sample], mode: str, low: float | None, high: float | None) -> Tensor:
    """What TRL multiplies the loss by: the very statements of its trainer, which are no function of their own."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    source = textwrap.dedent(inspect.getsource(GRPOTrainer._generate_and_score_completions))
    (statement,) = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.If) and _assigns_the_difference(node)
    ]
    trainer = SimpleNamespace(
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_min=low,
        vllm_importance_sampling_clip_max=high,
    )
    names = {
        "self": trainer,
        "torch": torch,
        "math": math,
        "completion_mask": padded(rows, "loss_mask"),
        "tool_mask": None,
        "old_per_token_logps": padded(rows, "old_logprobs"),
        "sampling_per_token_logps": padded(rows, "sampler_logprobs"),
    }
    exec(compile(ast.Module([statement], []), "trl", "exec"), names)
    return names["vllm_importance_sampling_ratio"]  # type: ignore[return-value]


def _assigns_the_difference(node: ast.If) -> bool:
    names = [target.id for s in node.body if isinstance(s, ast.Assign) for target in s.targets if hasattr(target, "id")]
    return "per_token_logps_diff" in names


@pytest.mark.capability("RL-21")
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("outside", ["truncate", "mask"])
@pytest.mark.parametrize("low", [0.0, 0.7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_importance_correction_equals_trls(level: Any, outside: Any, low: float, seed: int) -> None:
    rows = random_rows(seed, num_groups=4)
    weights = trl_weights(rows, f"{level}_{outside}", low or None, 1.4)
    theirs, _ = trl_grpo(rows, loss_type="grpo", beta=0.04, weights=weights)
    correction = ImportanceCorrection(level=level, outside=outside, low=low, high=1.4)
    assert_equal(descend(replace(grpo(kl="k3", beta=0.04), correction=correction), rows), theirs)


# ---------------------------------------------------------------------------------------------------- where TRL differs


def test_trls_cispo_bounds_the_weight_by_epsilon_itself_so_that_the_usual_fifth_shrinks_every_token() -> None:
    """MiniMax-M1 clips at 1 + ε_high; TRL follows ScaleRL's ε_max. Ours is the paper's, and ε_max = 1 + clip_high."""
    rows = [row([-1.0], old_logprobs=[-1.0], ref_logprobs=[-1.0], advantages=1.0, entropy=0.0)]
    theirs, _ = trl_grpo(rows, loss_type="cispo", epsilon_high=0.2)
    assert theirs.gradient[1].item() == pytest.approx(-0.2)
    assert descend(cispo(clip_high=0.2), rows).gradient[1].item() == pytest.approx(-1.0)


def test_trl_counts_a_bounded_weight_of_cispo_only_for_good_samples() -> None:
    """The bound holds for both signs of the advantage, so ours counts both."""
    rows = [
        row([-1.0], name=name, old_logprobs=[-3.0], ref_logprobs=[-1.0], advantages=a, entropy=0.0)
        for name, a in (("good", 1.0), ("bad", -1.0))
    ]
    theirs, metrics = trl_grpo(rows, loss_type="cispo", epsilon_high=5.0)
    ours = descend(cispo(), rows)
    assert_equal(ours, theirs)
    assert metrics["cispo_clip_ratio"] == pytest.approx(0.5)
    assert ours.metrics["clip_fraction"] == pytest.approx(1.0)


def test_trls_entropy_bonus_is_a_token_mean_whatever_the_loss_is_and_ours_is_aggregated_like_the_loss() -> None:
    """With ours one step is one weighting of the tokens; TRL documents its choice. They agree for token means."""
    rows = random_rows(0, num_groups=4)
    theirs, _ = trl_grpo(rows, loss_type="grpo", _entropy_bonus_enabled=True, entropy_coef=0.05)
    ours = descend(PolicyGradient(entropy_weight=0.05), rows)
    torch.testing.assert_close(ours.gradient.float(), theirs.gradient, rtol=1e-4, atol=1e-6)
    num_tokens = padded(rows, "loss_mask").sum()
    trained = theirs.gradient_of("entropy")[theirs.gradient_of("entropy") != 0]
    torch.testing.assert_close(trained, torch.full_like(trained, -0.05) / num_tokens)
    first = sum(rows[0].loss_mask)
    expected = torch.tensor([-0.05 * m / first / len(rows) for m in rows[0].loss_mask], dtype=torch.float64)
    torch.testing.assert_close(ours.by_output["entropy"][rows[0].name], expected)


def test_an_answer_with_nothing_to_train_shrinks_trls_step_and_not_ours() -> None:
    """TRL divides by all rows of the batch; ours by those that have a trained token, so masking equals removing."""
    rows = random_rows(1, num_groups=2)
    masked = [masked_out(rows[0]), *rows[1:]]
    theirs, _ = trl_grpo(masked, loss_type="grpo")
    ours = descend(grpo(), masked)
    assert ours.value == pytest.approx(descend(grpo(), rows[1:]).value)
    assert theirs.value == pytest.approx(ours.value * 3 / 4, rel=1e-5)
    theirs, _ = trl_rloo(masked)  # its value even holds the -A of the empty answer, whose ratio is 1
    torch.testing.assert_close(theirs.gradient, descend(rloo(), masked).gradient.float() * 3 / 4, rtol=1e-4, atol=1e-6)


def test_a_ratio_beyond_float32_makes_trls_gradient_nan_and_ours_zero() -> None:
    """Ours clamps log-ratios at ± 20 nats; TRL exponentiates them as they are."""
    rows = [row([-1.0], old_logprobs=[-101.0], ref_logprobs=[-1.0], advantages=-1.0, entropy=0.0)]
    theirs, _ = trl_grpo(rows, loss_type="grpo")
    ours = descend(grpo(), rows)
    assert math.isinf(theirs.value)
    assert not theirs.gradient.isfinite().all()
    assert ours.value == pytest.approx(math.exp(20))
    assert not ours.gradient.any()


def test_trl_counts_clipped_sequences_and_ours_the_tokens_in_them() -> None:
    """With sequence ratios TRL's clip fraction is one of sequences; ours is of tokens for every ratio."""
    rows = [
        row([-1.0] * 3, name="long", old_logprobs=[-2.0] * 3, ref_logprobs=-1.0, advantages=1.0, entropy=0.0),
        row([-1.0], name="short", old_logprobs=[-1.0], ref_logprobs=-1.0, advantages=1.0, entropy=0.0),
    ]
    _, metrics = trl_grpo(rows, **SEQUENCE)
    assert metrics["clip_ratio/high_mean"] == pytest.approx(1 / 2)
    assert descend(PolicyGradient(ratio="sequence"), rows).metrics["clip_fraction_high"] == pytest.approx(3 / 4)


def test_trls_token_mean_of_micro_batches_depends_on_their_size_and_ours_does_not() -> None:
    """TRL's ``bnpo`` divides by each micro-batch's own tokens; ours by the step's, as TRL's ``dapo`` does."""
    rows = random_rows(2, num_groups=2)
    halves = [trl_grpo(half, loss_type="bnpo")[0].value for half in (rows[:2], rows[2:])]
    whole = descend(PolicyGradient(aggregate="token_mean"), rows)
    assert whole.value == pytest.approx(trl_grpo(rows, loss_type="bnpo")[0].value, rel=1e-5)
    assert abs(sum(halves) / 2 - whole.value) > 0.01
    assert descend(PolicyGradient(aggregate="token_mean"), rows, max_tokens=1).value == pytest.approx(whole.value)
