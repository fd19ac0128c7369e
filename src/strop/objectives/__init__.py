"""One formula a file: what is descended, as frozen values that the training loop calls and does not know."""

from strop.objectives.cross_entropy import CrossEntropy
from strop.objectives.dpo import DPO
from strop.objectives.policy_gradient import PolicyGradient, dr_grpo, grpo

__all__ = ["DPO", "CrossEntropy", "PolicyGradient", "dr_grpo", "grpo"]
