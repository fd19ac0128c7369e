"""From rewards to advantages: which samples of a step were better than what was expected of them."""

from strop.credit.baselines import ConstantBaseline, MovingAverageBaseline
from strop.credit.distillation import minillm_advantages, on_policy_distillation_advantages
from strop.credit.gae import explained_variance, gae, terminal_rewards
from strop.credit.groups import group_advantages, is_informative
from strop.credit.kl_control import (
    AdaptiveKL,
    FixedKL,
    penalised_scores,
    penalised_token_rewards,
    sequence_kl,
    token_kl,
)
from strop.credit.length import (
    linear_length_penalty,
    overlong_filter,
    relative_length_reward,
    soft_overlong_penalty,
)
from strop.credit.process import potential_rewards, process_rewards
from strop.credit.returns import rewards_to_go
from strop.credit.whitening import masked_mean, masked_variance, whiten

__all__ = [
    "AdaptiveKL",
    "ConstantBaseline",
    "FixedKL",
    "MovingAverageBaseline",
    "explained_variance",
    "gae",
    "group_advantages",
    "is_informative",
    "linear_length_penalty",
    "masked_mean",
    "masked_variance",
    "minillm_advantages",
    "on_policy_distillation_advantages",
    "overlong_filter",
    "penalised_scores",
    "penalised_token_rewards",
    "potential_rewards",
    "process_rewards",
    "relative_length_reward",
    "rewards_to_go",
    "sequence_kl",
    "soft_overlong_penalty",
    "terminal_rewards",
    "token_kl",
    "whiten",
]
