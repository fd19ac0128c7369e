"""From judged rollouts to a batch: hand-made rollouts, hand-worked advantages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import pytest
import torch

from strop.errors import VerifierError
from strop.methods.groups import group_batch
from strop.objectives import PolicyGradient
from strop.types import Completion, Message, Outputs, Rollout, Task, Verdict

UNGRADED = Verdict(score=None, passed=False, state="timeout", reasons=("5 s",))


def make_rollouts(
    scores: Sequence[float | Verdict], lengths: Sequence[int] | None = None, group_size: int = 4
) -> list[Rollout]:
    """One rollout a score, in groups; a length below 0 is a truncated completion of that many tokens."""
    rollouts = []
    for i, (score, length) in enumerate(zip(scores, lengths or [3] * len(scores), strict=True)):
        verdict = score if isinstance(score, Verdict) else Verdict(score=score, passed=score > 0.5)
        finish: Literal["stop", "length"] = "length" if length < 0 else "stop"
        num_tokens = abs(length)
        completion = Completion(
            token_ids=(*range(20, 19 + num_tokens), 2) if length > 0 else tuple(range(20, 20 + num_tokens)),
            sampler_logprobs=tuple(-0.1 * (t + 1) for t in range(num_tokens)),
            text="",
            finish_reason=finish,
        )
        task = Task(id=f"t{i // group_size}", prompt=(Message(role="user", content="?"),))
        rollouts.append(
            Rollout(task=task, prompt_ids=(11, 12 + i // group_size), completion=completion, verdict=verdict)
        )
    return rollouts


def advantages_of(batch_scores: Sequence[float | Verdict], scale: Literal["std"] | None) -> list[float]:
    batch = group_batch(make_rollouts(batch_scores), 4, scale=scale)
    ends = torch.cumsum(torch.bincount(batch.sequence_ids), 0) - 1
    return batch.streams["advantages"][ends].tolist()


@pytest.mark.capability("A1-7")
@pytest.mark.capability("RL-09")
def test_advantages_without_scale_are_the_documents() -> None:
    assert advantages_of([1, 0, 0, 0], None) == pytest.approx([0.75, -0.25, -0.25, -0.25])
    assert advantages_of([1, 0.6, 0.2, 0], None) == pytest.approx([0.55, 0.15, -0.25, -0.45])


@pytest.mark.capability("RL-10")
def test_advantages_with_scale_are_divided_by_the_bessel_deviation() -> None:
    # The deviation of 1, 0, 0, 0 with n - 1 is 0.5.
    assert advantages_of([1, 0, 0, 0], "std") == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-5)


def test_every_completion_token_is_trained_and_no_prompt_token() -> None:
    batch = group_batch(make_rollouts([1, 0, 0, 0], [3, -4, 1, 2]), 4, scale=None)
    masks = [batch.loss_mask[batch.sequence_ids == s].tolist() for s in range(4)]
    assert masks == [[False, False] + [True] * n for n in (3, 4, 1, 2)]
    assert batch.token_ids[batch.sequence_ids == 0].tolist() == [11, 12, 20, 21, 2]
    on_prompt = ~batch.loss_mask
    assert not batch.streams["advantages"][on_prompt].any()
    assert batch.streams["sampler_logprobs"][batch.sequence_ids == 0].tolist() == pytest.approx(
        [0, 0, -0.1, -0.2, -0.3]
    )


@pytest.mark.capability("RL-01")
def test_a_truncated_completion_says_so_and_gets_no_stop_token() -> None:
    batch = group_batch(make_rollouts([1, 0, 0, 0], [3, -4, 1, 2]), 4, scale=None)
    assert batch.facts["is_truncated"].tolist() == [0, 1, 0, 0]
    assert batch.token_ids[batch.sequence_ids == 1].tolist() == [11, 12, 20, 21, 22, 23]
    assert batch.metrics["truncated_share"] == 0.25
    assert batch.metrics["completion_length"] == 2.5


def test_what_was_not_graded_is_counted_and_kept_out() -> None:
    batch = group_batch(make_rollouts([1, UNGRADED, 0, 0, UNGRADED, UNGRADED, UNGRADED, 1]), 4, scale=None)
    assert batch.names == ("t0#0", "t0#2", "t0#3", "t1#3")
    assert batch.facts["group_ids"].tolist() == [0, 0, 0, 1]
    assert batch.facts["rewards"].tolist() == [1, 0, 0, 1]
    ends = torch.cumsum(torch.bincount(batch.sequence_ids), 0) - 1
    # The mean of 1, 0, 0 is a third; a sample alone in its group has nothing to be compared with.
    assert batch.streams["advantages"][ends].tolist() == pytest.approx([2 / 3, -1 / 3, -1 / 3, 0])
    assert batch.metrics["graded_share"] == 0.5
    assert batch.metrics["ungraded_timeout"] == 4
    assert batch.metrics["reward"] == batch.metrics["pass_rate"] == 0.5


def test_an_unparsable_answer_is_graded() -> None:
    unparsable = Verdict(score=0.0, passed=False, state="unparsable")
    batch = group_batch(make_rollouts([1, unparsable, unparsable, unparsable]), 4, scale=None)
    assert batch.metrics["graded_share"] == 1
    assert batch.metrics["reward"] == 0.25


def test_a_step_in_which_nothing_was_graded_is_an_error() -> None:
    with pytest.raises(VerifierError, match=r"none of the 4 rollouts(.|\n)*timeout 5 s"):
        group_batch(make_rollouts([UNGRADED] * 4), 4, scale="std")


def test_groups_without_differences_are_reported_and_stay_in_the_denominators() -> None:
    batch = group_batch(make_rollouts([1, 0, 0, 0, 1, 1, 1, 1]), 4, scale="std")
    assert batch.metrics["zero_variance_share"] == 0.5
    assert PolicyGradient().count(batch)["sequences"] == 8


def test_a_step_without_any_signal_is_a_batch_with_zero_gradient() -> None:
    batch = group_batch(make_rollouts([0] * 8), 4, scale="std")
    assert batch.metrics["zero_variance_share"] == 1
    logprobs = torch.full((batch.num_tokens,), -1.0, requires_grad=True)
    objective = PolicyGradient()
    loss = objective(Outputs(logprobs=logprobs), batch, objective.count(batch))
    loss.value.backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert not logprobs.grad.any()


def test_a_group_is_known_by_its_place_even_if_a_task_comes_twice() -> None:
    rollouts = make_rollouts([1, 0, 0, 0]) * 2
    batch = group_batch(rollouts, 4, scale=None)
    assert batch.facts["group_ids"].tolist() == [0] * 4 + [1] * 4


def test_metrics_are_finite_numbers() -> None:
    batch = group_batch(make_rollouts([1, UNGRADED, 0, 0.25]), 4, scale="std")
    assert all(math.isfinite(value) for value in batch.metrics.values())
