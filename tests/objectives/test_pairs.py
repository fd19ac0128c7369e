"""What pair objectives share: the pairing, the two reductions, and the metrics of a comparison."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from random_batches import masked_out, row
from strop.batches import collate
from strop.objectives.pairs import PairObjective, Pairs, against_reference, sequence_means, sequence_sums, sides
from strop.objectives.pairs import without_reference as reference_free
from strop.types import Batch, Outputs, Sample

LONG = row([-1.0, -2.0, -6.0], name="long", group=0, preferred=1.0, ref_logprobs=[-2.0, -2.0, -2.0])
SHORT = row([-4.0], name="short", group=0, preferred=0.0, ref_logprobs=[-3.0])
LATE = row([-5.0, -5.0], name="late", group=1, preferred=0.0, ref_logprobs=[-5.0, -4.0])
EARLY = row([-0.5], name="early", group=1, preferred=1.0, ref_logprobs=[-1.5])


def outputs_of(batch: Batch) -> Outputs:
    return Outputs(logprobs=batch.streams["logprobs"].clone().requires_grad_())


def without_training(sample: Sample, token: int) -> Sample:
    return replace(sample, loss_mask=tuple(m and t != token for t, m in enumerate(sample.loss_mask)))


def test_the_preferred_sequence_is_the_chosen_one_in_either_order() -> None:
    chosen, rejected = sides(collate([LONG, SHORT, LATE, EARLY]))
    assert chosen.tolist() == [0, 3]
    assert rejected.tolist() == [1, 2]


def test_a_pair_with_an_empty_side_is_no_pair() -> None:
    batch = collate([LONG, masked_out(SHORT), LATE, EARLY])
    assert [side.tolist() for side in sides(batch)] == [[3], [2]]
    assert PairObjective().count(batch) == {"pairs": 1.0}
    assert PairObjective().count(collate([LONG, SHORT, LATE, EARLY])) == {"pairs": 2.0}
    assert PairObjective().count(collate([masked_out(LONG), SHORT])) == {"pairs": 0.0}
    assert type(PairObjective().count(batch)["pairs"]) is float  # the loop adds these up over devices and batches


def test_sequences_of_different_pairs_side_by_side_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="next to each other"):
        sides(collate([LONG, SHORT, LATE, replace(EARLY, facts={**EARLY.facts, "group_ids": 2})]))


@pytest.mark.parametrize("preferred", [0.0, 1.0])
def test_a_pair_with_none_or_two_preferred_is_a_mistake(preferred: float) -> None:
    both = [replace(sample, facts={**sample.facts, "preferred": preferred}) for sample in (LATE, EARLY)]
    with pytest.raises(AssertionError, match="exactly one preferred"):
        sides(collate([LONG, SHORT, *both]))


def test_sums_and_means_run_over_the_trained_tokens_only() -> None:
    batch = collate([without_training(LONG, 3), SHORT, masked_out(LATE), EARLY])
    assert sequence_sums(batch.streams["logprobs"], batch).tolist() == [-3.0, -4.0, 0.0, -0.5]
    assert sequence_means(batch.streams["logprobs"], batch).tolist() == [-1.5, -4.0, 0.0, -0.5]


def test_the_score_against_a_reference_is_the_log_ratio_under_either_reduction() -> None:
    batch = collate([LONG, SHORT])
    sums, means = (against_reference(outputs_of(batch), batch, reduction) for reduction in ("sum", "mean"))
    assert sums.scores.tolist() == [-3.0, -1.0]
    assert means.scores.tolist() == [-1.0, -1.0]
    assert sums.margin.tolist() == [-2.0]
    assert means.margin.tolist() == [0.0]
    assert sums.logps.tolist() == [-9.0, -4.0]
    assert means.logps.tolist() == [-3.0, -4.0]


def test_the_score_without_a_reference_is_the_policys_own_log_probability() -> None:
    batch = collate([SHORT, LONG])
    sums, means = (reference_free(outputs_of(batch), batch, reduction) for reduction in ("sum", "mean"))
    assert sums.margin.tolist() == [-5.0]
    assert means.margin.tolist() == [1.0]
    for pairs in (sums, means):
        assert torch.equal(pairs.scores, pairs.logps)


def test_the_reference_gets_no_gradient() -> None:
    batch = collate([LONG, SHORT])
    ref_logprobs = batch.streams["ref_logprobs"].clone().requires_grad_()
    batch = replace(batch, streams={**batch.streams, "ref_logprobs": ref_logprobs})
    against_reference(outputs_of(batch), batch, "sum").margin.sum().backward()
    assert ref_logprobs.grad is None


COMPARED = Pairs(
    scores=torch.tensor([3.0, 1.0, -1.0, -1.0, 0.5, 2.0], requires_grad=True),
    logps=torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0, -7.0], requires_grad=True),
    chosen=torch.tensor([0, 2, 4]),
    rejected=torch.tensor([1, 3, 5]),
)
"""A pair in the right order with h = 2, a tie, and one in the wrong order with h = -1.5."""


def test_loss_and_metrics_are_means_over_the_pairs_of_the_step() -> None:
    loss = COMPARED.loss(torch.tensor([1.0, 2.0, 6.0], requires_grad=True), {"pairs": 4.0}, 0.5)
    expected = {
        "margin": (2.0 + 0.0 - 1.5) / 4,
        "accuracy": (1.0 + 0.5 + 0.0) / 4,
        "logps_chosen": -9.0 / 4,
        "logps_rejected": -13.0 / 4,
        "rewards_chosen": 0.5 * 2.5 / 4,
        "rewards_rejected": 0.5 * 2.0 / 4,
    }
    assert loss.value.item() == 9 / 4
    assert loss.value.requires_grad
    assert {name: value.item() for name, value in loss.metrics.items()} == pytest.approx(expected)
    assert not any(value.requires_grad for value in loss.metrics.values())


def test_a_step_without_pairs_has_loss_and_metrics_0_and_one_pair_is_divided_by_1() -> None:
    nobody = torch.zeros(0, dtype=torch.int64)
    empty = replace(COMPARED, chosen=nobody, rejected=nobody).loss(torch.zeros(0), {"pairs": 0.0}, 0.5)
    assert [empty.value.item(), *(value.item() for value in empty.metrics.values())] == [0.0] * 7
    first = replace(COMPARED, chosen=torch.tensor([0]), rejected=torch.tensor([1]))
    assert first.loss(torch.tensor([3.0]), {"pairs": 1.0}, 0.5).value.item() == 3.0
    assert math.isclose(first.loss(torch.tensor([3.0]), {"pairs": 1.0}, 0.5).metrics["margin"].item(), 2.0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_which_side_is_preferred_may_be_a_truth_a_count_or_a_number(dtype: torch.dtype) -> None:
    batch = collate([LONG, SHORT, LATE, EARLY])
    batch = replace(batch, facts={**batch.facts, "preferred": batch.facts["preferred"].to(dtype)})
    assert [side.tolist() for side in sides(batch)] == [[0, 3], [1, 2]]


@pytest.mark.parametrize("preferred", [(0.5, 0.5), (2.0, -1.0), (0.75, 0.25)])
def test_a_tie_or_a_degree_of_preference_is_not_taken_for_a_choice(preferred: tuple[float, float]) -> None:
    shared = zip((LATE, EARLY), preferred, strict=True)
    rows = [replace(sample, facts={**sample.facts, "preferred": value}) for sample, value in shared]
    with pytest.raises(AssertionError, match="exactly one preferred"):
        sides(collate(rows))
