"""One formula a file: what is descended, as frozen values that the training loop calls and does not know."""

from strop.objectives.cross_entropy import CrossEntropy, dft
from strop.objectives.divergence import Divergence, gkd, knowledge_distillation, minillm
from strop.objectives.dpo import DPO
from strop.objectives.importance import ImportanceCorrection
from strop.objectives.named import cispo, dapo, dr_grpo, grpo, gspo, luffy, ppo, reinforce, rloo
from strop.objectives.policy_gradient import PolicyGradient
from strop.objectives.total import Total
from strop.objectives.value import ValueLoss, explained_variance

__all__ = [
    "DPO",
    "CrossEntropy",
    "Divergence",
    "ImportanceCorrection",
    "PolicyGradient",
    "Total",
    "ValueLoss",
    "cispo",
    "dapo",
    "dft",
    "dr_grpo",
    "explained_variance",
    "gkd",
    "grpo",
    "gspo",
    "knowledge_distillation",
    "luffy",
    "minillm",
    "ppo",
    "reinforce",
    "rloo",
]
