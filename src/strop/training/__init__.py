"""Training: the one loop, its optimizer and schedules, checkpoints, guards and validation."""

from strop.training.checkpoint import latest_checkpoint
from strop.training.loop import Step, train
from strop.training.optimizer import AdamW
from strop.training.regression import Finding, Order, Rule, compare, decide, why_idle
from strop.training.validation import load_best, save_best, validate

__all__ = [
    "AdamW",
    "Finding",
    "Order",
    "Rule",
    "Step",
    "compare",
    "decide",
    "latest_checkpoint",
    "load_best",
    "save_best",
    "train",
    "validate",
    "why_idle",
]
