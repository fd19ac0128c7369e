"""What a method's models weigh, against the tensors of real models and optimizers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from strop.methods.memory import HELD, state_bytes


def held_bytes(model: nn.Module, *, is_trained: bool) -> int:
    """The bytes that a model holds after one AdamW step, or as a frozen one: counted, not computed."""
    tensors = list(model.parameters())
    if is_trained:
        optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
        model(torch.ones(2, 16)).sum().backward()
        optimizer.step()
        tensors += [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        tensors += [s for state in optimizer.state.values() for name, s in state.items() if name != "step"]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.capability("RL-11")
@pytest.mark.parametrize("method", ["ppo", "grpo", "rloo", "gkd"])
def test_the_accounting_equals_the_bytes_of_real_models_with_their_optimizers(method: str) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 4))
    counted = {
        name: held_bytes(copy.deepcopy(model), is_trained=is_trained) for name, is_trained in HELD[method].items()
    }
    assert state_bytes(method, sum(p.numel() for p in model.parameters())) == counted


@pytest.mark.capability("RL-11")
def test_a_method_without_a_critic_holds_less_than_half_of_what_ppo_holds() -> None:
    # One billion parameters in float32: 4 copies each of policy and critic and 1 each of reference and reward model.
    ppo, grpo = (sum(state_bytes(method, 10**9).values()) for method in ("ppo", "grpo"))
    assert (ppo, grpo) == (40 * 10**9, 16 * 10**9)


def test_half_precision_halves_the_states() -> None:
    assert state_bytes("ppo", 100, bytes_per_number=2) == {
        "policy": 800,
        "critic": 800,
        "reference": 200,
        "reward_model": 200,
    }
