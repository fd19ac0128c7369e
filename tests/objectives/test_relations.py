"""What no rearrangement may change: the relations that every objective satisfies."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import Descent, descend, masked_out, random_rows
from strop.batches import collate
from strop.objectives import (
    DPO,
    IPO,
    KTO,
    BradleyTerry,
    ChosenCrossEntropy,
    CrossEntropy,
    Divergence,
    ImportanceCorrection,
    PolicyGradient,
    RobustDPO,
    SimPO,
    StepLabel,
    ValueLoss,
    cispo,
    cpo,
    dapo,
    dft,
    dr_grpo,
    gkd,
    grpo,
    gspo,
    knowledge_distillation,
    luffy,
    minillm,
    orpo,
    ppo,
    reinforce,
    rloo,
    rpo,
)
from strop.types import Objective, Sample

OBJECTIVES: dict[str, Objective] = {
    "bradley_terry": BradleyTerry(center=0.1),
    "step_label": StepLabel(),
    "divergence": Divergence(tau=2.0),
    "reverse_divergence": Divergence(kind="reverse"),
    "gkd": gkd(beta=0.3),
    "knowledge_distillation": knowledge_distillation(),
    "minillm": minillm(),
    "cross_entropy": CrossEntropy(),
    "dynamic_fine_tuning": dft(),
    "dpo": DPO(beta=0.3),
    "conservative_dpo": DPO(beta=0.3, label_smoothing=0.1),
    "robust_dpo": RobustDPO(beta=0.3, flip_probability=0.2),
    "ipo": IPO(),
    "ipo_of_sums": IPO(beta=0.5, reduction="sum"),
    "kto": KTO(beta=0.3, desirable_weight=1.3, undesirable_weight=0.7),
    "simpo": SimPO(),
    "chosen_cross_entropy": ChosenCrossEntropy(),
    "cpo": cpo(aggregate="sequence_sum"),
    "orpo": orpo(weight=0.5),
    "rpo": rpo(),
    "grpo": grpo(),
    "grpo_with_kl": grpo(kl="k3", beta=0.1),
    "dr_grpo": dr_grpo(constant_length=10),
    "gspo": gspo(clip_low=0.1, clip_high=0.2),
    "dapo": dapo(),
    "cispo": cispo(clip_high=0.2),
    "dual_clip": PolicyGradient(surrogate="dual_clip", dual_clip=1.3, aggregate="sequence_sum"),
    "reinforce": reinforce(),
    "rloo": rloo(),
    "ppo": ppo(entropy_weight=0.1),
    "value_loss": ValueLoss(),
    "luffy": luffy(constant_length=10),
    "luffy_of_sequences": PolicyGradient(ratio="sequence", expert_gamma=0.1, kl="k3", beta=0.1, kl_weight="ratio"),
    "corrected": PolicyGradient(correction=ImportanceCorrection()),
    "corrected_by_sequence": PolicyGradient(
        correction=ImportanceCorrection(level="sequence", outside="mask", low=0.5), expert_gamma=0.1
    ),
    "corrected_by_geometric_mean": PolicyGradient(correction=ImportanceCorrection(level="geometric", high=1.2)),
    "weighted_reinforce": PolicyGradient(surrogate="reinforce", aggregate="token_mean", kl="k2", beta=0.05),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
thorough = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def assert_same(one: Descent, other: Descent) -> None:
    """Equal value, metrics and gradient of every row of ``one``; float64, so only the order of sums may differ."""
    assert math.isclose(one.value, other.value, rel_tol=1e-9, abs_tol=1e-12)
    assert one.metrics.keys() == other.metrics.keys()
    for name, value in one.metrics.items():
        assert math.isclose(value, other.metrics[name], rel_tol=1e-9, abs_tol=1e-12), name
    for output, by_row in one.by_output.items():
        for name in one.gradients:
            torch.testing.assert_close(by_row[name], other.by_output[output][name], rtol=1e-9, atol=1e-12)


@pytest.mark.capability("AB-micro-batch-invariance", "AB-per-step-normaliser")
@every_objective
@thorough
@given(seed=seeds, num_groups=st.integers(1, 4), max_tokens=st.integers(1, 60))
def test_splitting_into_micro_batches_changes_nothing(
    objective: Objective, seed: int, num_groups: int, max_tokens: int
) -> None:
    rows = random_rows(seed, num_groups)
    assert_same(descend(objective, rows), descend(objective, rows, max_tokens=max_tokens))


@every_objective
@thorough
@given(seed=seeds, data=st.data())
def test_the_order_of_the_groups_changes_nothing(objective: Objective, seed: int, data: st.DataObject) -> None:
    rows = random_rows(seed, 4)
    order = data.draw(st.permutations(range(4)))
    reordered = [row for group in order for row in rows[2 * group : 2 * group + 2]]
    assert_same(descend(objective, rows), descend(objective, reordered))


@every_objective
@thorough
@given(seed=seeds)
def test_the_order_within_a_group_changes_nothing(objective: Objective, seed: int) -> None:
    rows = random_rows(seed, 2)
    assert_same(descend(objective, rows), descend(objective, [rows[1], rows[0], rows[3], rows[2]]))


@pytest.mark.capability("AB-padding-invariance")
@every_objective
@thorough
@given(seed=seeds, width=st.integers(1, 5))
def test_untrained_tokens_around_the_trained_ones_change_nothing(objective: Objective, seed: int, width: int) -> None:
    rows = random_rows(seed, 2)
    plain, padded = descend(objective, rows), descend(objective, [pad(row, width) for row in rows])
    assert math.isclose(plain.value, padded.value, rel_tol=1e-9, abs_tol=1e-12)
    for output, by_row in plain.by_output.items():
        for name, gradient in by_row.items():
            wider = padded.by_output[output][name]
            torch.testing.assert_close(wider[width:-width], gradient)
            assert not wider[:width].any()
            assert not wider[-width:].any()


def pad(sample: Sample, width: int) -> Sample:
    """``width`` tokens of prompt before and of padding behind, masked out, full of the first token's garbage."""
    return replace(
        sample,
        token_ids=(7,) * width + sample.token_ids + (0,) * width,
        loss_mask=(False,) * width + sample.loss_mask + (False,) * width,
        streams={key: (s[0],) * width + tuple(s) + (s[0],) * width for key, s in sample.streams.items()},
    )


@every_objective
@thorough
@given(seed=seeds)
def test_masking_a_group_equals_removing_it(objective: Objective, seed: int) -> None:
    rows = random_rows(seed, 3)
    removed = descend(objective, rows[2:])
    masked = descend(objective, [masked_out(rows[0]), masked_out(rows[1]), *rows[2:]])
    assert_same(removed, masked)


PAIRED = {
    "bradley_terry",
    "dpo",
    "conservative_dpo",
    "robust_dpo",
    "ipo",
    "ipo_of_sums",
    "simpo",
    "chosen_cross_entropy",
    "cpo",
    "orpo",
    "rpo",
}
"""These learn from pairs: one row of them means nothing."""


@pytest.mark.parametrize("name", sorted(OBJECTIVES.keys() - PAIRED))
@thorough
@given(seed=seeds)
def test_masking_a_row_equals_removing_it(name: str, seed: int) -> None:
    rows = random_rows(seed, 3)
    assert_same(descend(OBJECTIVES[name], rows[1:]), descend(OBJECTIVES[name], [masked_out(rows[0]), *rows[1:]]))


@pytest.mark.capability("AB-tool-tokens-masked", "AB-detached-advantages", "AB-detached-weights")
@every_objective
@thorough
@given(seed=seeds)
def test_untrained_tokens_and_streams_get_no_gradient(objective: Objective, seed: int) -> None:
    rows = random_rows(seed, 3)
    result = descend(objective, rows)  # asserts that no stream but the log-probabilities has a gradient
    for by_row in result.by_output.values():
        for row in rows:
            assert not by_row[row.name][~torch.tensor(row.loss_mask)].any()
    assert any(gradient.any() for by_row in result.by_output.values() for gradient in by_row.values())


@every_objective
def test_nothing_to_train_is_zero_loss_with_zero_gradient(objective: Objective) -> None:
    result = descend(objective, [masked_out(row) for row in random_rows(0)])
    assert result.value == 0.0
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert not any(result.gradient_of(output).any() for output in result.by_output)


@every_objective
@pytest.mark.parametrize("logprob", [0.0, -1e-30, -1e4])
def test_certain_and_hopeless_tokens_stay_finite(objective: Objective, logprob: float) -> None:
    rows = [
        replace(row, streams={**row.streams, "logprobs": (logprob,) * len(row.token_ids)})
        for row in random_rows(1, num_groups=2)
    ]
    result = descend(objective, rows)
    assert math.isfinite(result.value)
    assert all(result.gradient_of(output).isfinite().all() for output in result.by_output)
    assert all(math.isfinite(value) for value in result.metrics.values())


@every_objective
def test_denominators_are_plain_numbers(objective: Objective) -> None:
    assert {type(count) for count in objective.count(collate(random_rows(0))).values()} == {float}
