"""Distillation as reinforcement learning: the teacher's opinion of the student's own tokens as their advantage."""

from __future__ import annotations

from torch import Tensor

from strop.credit.kl_control import token_kl
from strop.credit.returns import rewards_to_go
from strop.credit.whitening import whiten


def on_policy_distillation_advantages(logprobs: Tensor, teacher_logprobs: Tensor, mask: Tensor) -> Tensor:
    """A_t = -(log π_student - log π_teacher) at each trained token, 0 elsewhere, ``[N]``, detached.

    Every token stands for itself (discount 0). With ``PolicyGradient(surrogate="reinforce")`` on the student's own
    samples the expected gradient at each token is that of the reverse KL there, given the text before it.

    *Source*: Thinking Machines 2025, "On-Policy Distillation"; tinker-cookbook 9dfcc3a.
    Shapes: ``logprobs`` (the student's, when it sampled), ``teacher_logprobs``, ``mask`` bool, all ``[N]``.
    """
    return -token_kl(logprobs, teacher_logprobs, mask)


def minillm_advantages(
    logprobs: Tensor,
    teacher_logprobs: Tensor,
    mask: Tensor,
    sequence_ids: Tensor,
    num_sequences: int,
    *,
    gamma: float = 1.0,
) -> Tensor:
    """Whitened mean rewards from each token to the end, ``[N]``, detached, of r_t = log π_teacher - log π_student.

    A = whiten(Σ_{u ≥ t} γ^{u - t} r_u / number of trained tokens from t on). Whitening is over the trained tokens only.

    *Source*: MiniLLM (arXiv:2306.08543), section 2.2, in the form of microsoft/LMOps 7b14bef, minillm/losses.py, where
    the padding is whitened along. The paper leaves the token's own reward to an exact one-step term of the loss.
    Shapes: as ``on_policy_distillation_advantages``; ``sequence_ids [N]``.
    Raises: RecipeError for ``gamma`` outside 0..1.
    """
    rewards = on_policy_distillation_advantages(logprobs, teacher_logprobs, mask)
    to_go = rewards_to_go(rewards, mask, sequence_ids, num_sequences, gamma=gamma, normalise="remaining_length")
    return whiten(to_go, mask)
