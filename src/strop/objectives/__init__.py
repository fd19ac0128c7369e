"""One formula a file: what is descended, as frozen values that the training loop calls and does not know."""

from strop.objectives.chosen_cross_entropy import ChosenCrossEntropy
from strop.objectives.cpo import cpo
from strop.objectives.cross_entropy import CrossEntropy, dft
from strop.objectives.divergence import Divergence, gkd, knowledge_distillation, minillm
from strop.objectives.dpo import DPO
from strop.objectives.importance import ImportanceCorrection
from strop.objectives.ipo import IPO
from strop.objectives.kto import KTO, reference_point
from strop.objectives.named import cispo, dapo, dr_grpo, grpo, gspo, luffy, ppo, reinforce, rloo
from strop.objectives.orpo import OddsRatio, orpo
from strop.objectives.policy_gradient import PolicyGradient
from strop.objectives.reward_model import BradleyTerry
from strop.objectives.robust_dpo import RobustDPO
from strop.objectives.rpo import rpo
from strop.objectives.simpo import SimPO
from strop.objectives.step_label import StepLabel, label_steps, labels_until_first_error
from strop.objectives.total import Total
from strop.objectives.value import ValueLoss, step_explained_variance

__all__ = [
    "DPO",
    "IPO",
    "KTO",
    "BradleyTerry",
    "ChosenCrossEntropy",
    "CrossEntropy",
    "Divergence",
    "ImportanceCorrection",
    "OddsRatio",
    "PolicyGradient",
    "RobustDPO",
    "SimPO",
    "StepLabel",
    "Total",
    "ValueLoss",
    "cispo",
    "cpo",
    "dapo",
    "dft",
    "dr_grpo",
    "gkd",
    "grpo",
    "gspo",
    "knowledge_distillation",
    "label_steps",
    "labels_until_first_error",
    "luffy",
    "minillm",
    "orpo",
    "ppo",
    "reference_point",
    "reinforce",
    "rloo",
    "rpo",
    "step_explained_variance",
]
