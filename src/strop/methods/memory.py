"""Which models a method holds while it takes a step, and what their states weigh: why dropping the critic pays."""

from __future__ import annotations

from collections.abc import Mapping

TRAINED_STATES = 4
"""Weights, gradients, and AdamW's two moments, all in the training precision."""

HELD: Mapping[str, Mapping[str, bool]] = {
    "sft": {"policy": True},
    "dpo": {"policy": True},
    "kto": {"policy": True},
    "orpo": {"policy": True},
    "simpo": {"policy": True},
    "reinforce": {"policy": True},
    "rloo": {"policy": True, "reference": False},
    "grpo": {"policy": True},
    "dr_grpo": {"policy": True},
    "gspo": {"policy": True},
    "dapo": {"policy": True},
    "luffy": {"policy": True},
    "ppo": {"policy": True, "critic": True, "reference": False, "reward_model": False},
    "gkd": {"policy": True, "teacher": False},
}
"""Model → whether it is trained. The reference of DPO and KTO is run once beforehand and not held."""


def state_bytes(method: str, num_parameters: int, *, bytes_per_number: int = 4) -> dict[str, int]:
    """Bytes of each model's weights, and of gradients and AdamW moments where it is trained; activations come on top.

    Every model is taken to be as large as the policy. PPO holds a critic that GRPO replaces by the group's mean: with
    full fine-tuning it weighs ``TRAINED_STATES`` models. Raises: KeyError for a method that is not in ``HELD``.
    """
    return {
        model: num_parameters * bytes_per_number * (TRAINED_STATES if is_trained else 1)
        for model, is_trained in HELD[method].items()
    }
