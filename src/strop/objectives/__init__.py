"""One formula a file: what is descended, as frozen values that the training loop calls and does not know."""

from strop.objectives.cross_entropy import CrossEntropy, dft
from strop.objectives.dpo import DPO
from strop.objectives.policy_gradient import PolicyGradient, dr_grpo, grpo
from strop.objectives.total import Total

__all__ = ["DPO", "CrossEntropy", "PolicyGradient", "Total", "dft", "dr_grpo", "grpo"]
