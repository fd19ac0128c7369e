"""From tasks to judged completions, and the dialogue between a policy and its tools."""

from strop.rollouts.converse import converse
from strop.rollouts.roll_out import roll_out

__all__ = ["converse", "roll_out"]
