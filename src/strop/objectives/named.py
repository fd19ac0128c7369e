"""The named policy-gradient methods: points in the space of ``PolicyGradient``, with the defaults of their papers.

Each docstring names the advantages that go with the objective; they are made by ``strop.credit``.
"""

from __future__ import annotations

from strop.objectives.kl import KL
from strop.objectives.policy_gradient import PolicyGradient
from strop.objectives.total import Total
from strop.objectives.value import ValueLoss


def reinforce(*, temperature: float = 1.0) -> PolicyGradient:
    """REINFORCE: -A Σ_t log p, a mean over sequences. *Source*: Williams 1992.

    Its advantages are the reward, or the reward to go, less a baseline that does not depend on the answer.
    """
    return PolicyGradient(surrogate="reinforce", ratio="none", aggregate="sequence_sum", temperature=temperature)


def rloo(*, clip_low: float = 0.2, clip_high: float = 0.2, temperature: float = 1.0) -> PolicyGradient:
    """RLOO: the ratio of whole answers, clipped, once a sequence. *Source*: arXiv:2402.14740, the clip as in TRL.

    Its advantages are ``credit.group_advantages(..., scale=None, baseline="leave_one_out")`` of rewards less β k1.
    """
    return PolicyGradient(ratio="sequence_sum", clip_low=clip_low, clip_high=clip_high, temperature=temperature)


def ppo(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    value_clip: float | None = 0.2,
    value_weight: float = 0.1,
    entropy_weight: float = 0.0,
    temperature: float = 1.0,
) -> Total:
    """PPO: clip, c_v times the critic's loss, entropy bonus, all token means. *Source*: arXiv:1707.06347, eq. 9.

    Its advantages are those of generalised advantage estimation, whitened; ``returns`` are taken before the whitening.
    """
    policy = PolicyGradient(
        aggregate="token_mean",
        clip_low=clip_low,
        clip_high=clip_high,
        entropy_weight=entropy_weight,
        temperature=temperature,
    )
    return Total(((1.0, policy), (value_weight, ValueLoss(clip=value_clip, temperature=temperature))))


def grpo(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl: KL | None = None,
    beta: float = 0.0,
    temperature: float = 1.0,
) -> PolicyGradient:
    """GRPO: token ratio, clip, mean over sequences of token means. *Source*: arXiv:2402.03300, eq. 3.

    Its advantages are ``credit.group_advantages(..., scale="std")``.
    """
    return PolicyGradient(clip_low=clip_low, clip_high=clip_high, kl=kl, beta=beta, temperature=temperature)


def dr_grpo(
    *, constant_length: int, clip_low: float = 0.2, clip_high: float = 0.2, temperature: float = 1.0
) -> PolicyGradient:
    """Dr. GRPO: GRPO's, every token divided by the same constant. *Source*: arXiv:2503.20783, section 3.2.

    Its advantages are ``credit.group_advantages(..., scale=None)``.
    """
    return PolicyGradient(
        aggregate="constant",
        constant_length=constant_length,
        clip_low=clip_low,
        clip_high=clip_high,
        temperature=temperature,
    )


def gspo(*, clip_low: float = 3e-4, clip_high: float = 4e-4, temperature: float = 1.0) -> PolicyGradient:
    """GSPO: a sequence's geometric-mean ratio, clipped as one. *Source*: arXiv:2507.18071, bounds of section 5.1.

    Its advantages are GRPO's. Short sequences drift further a token: tens of tokens want about ten times the bounds.
    """
    return PolicyGradient(ratio="sequence", clip_low=clip_low, clip_high=clip_high, temperature=temperature)


def dapo(*, clip_low: float = 0.2, clip_high: float = 0.28, temperature: float = 1.0) -> PolicyGradient:
    """DAPO: clip higher than lower, every token weighs the same. *Source*: arXiv:2503.14476, sections 3.1 and 3.3.

    Its advantages are GRPO's, of groups that are neither all right nor all wrong, with overlong answers penalised.
    """
    return PolicyGradient(aggregate="token_mean", clip_low=clip_low, clip_high=clip_high, temperature=temperature)


def cispo(*, clip_high: float = 4.0, temperature: float = 1.0) -> PolicyGradient:
    """CISPO: the score function under a weight of at most 1 + ``clip_high``. *Source*: arXiv:2506.13585, section 3.1.

    Its advantages are GRPO's.
    """
    return PolicyGradient(surrogate="cispo", aggregate="token_mean", clip_high=clip_high, temperature=temperature)


def luffy(
    *, constant_length: int, gamma: float = 0.1, entropy_weight: float = 0.001, temperature: float = 1.0
) -> PolicyGradient:
    """LUFFY: unclipped ratios on the policy's tokens, policy shaping on the expert's. *Source*: arXiv:2504.14945.

    Its advantages are ``credit.group_advantages(..., scale=None)`` over groups that hold an expert's answer too.
    """
    return PolicyGradient(
        surrogate="reinforce",
        aggregate="constant",
        constant_length=constant_length,
        entropy_weight=entropy_weight,
        expert_gamma=gamma,
        temperature=temperature,
    )
