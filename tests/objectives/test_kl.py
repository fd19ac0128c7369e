"""The estimates of the divergence from the reference: their values, and the gradients they really have, enumerated."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from random_batches import descend, row
from strop.errors import RecipeError
from strop.objectives import PolicyGradient
from strop.objectives.kl import KL_WEIGHTS, KLS, k2, k3

REF = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
OLD = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64).log()


def policy() -> tuple[Tensor, Tensor]:
    """Three logits and the log-probabilities of the three tokens."""
    logits = torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    return logits, logits.log_softmax(-1)


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def test_the_values_of_k2_and_k3_by_hand() -> None:
    d = torch.tensor([0.0, 0.7, -0.7], dtype=torch.float64)
    assert k2(d).tolist() == pytest.approx([0.0, 0.245, 0.245])
    assert k3(d).tolist() == pytest.approx([0.0, math.exp(-0.7) - 0.3, math.exp(0.7) - 1.7])


@pytest.mark.capability("RL-08")
def test_the_expected_values_of_k1_and_k3_are_the_divergence_and_that_of_k2_is_not() -> None:
    _, logprobs = policy()
    d = logprobs - REF
    divergence = (logprobs.exp() * d).sum()
    torch.testing.assert_close((logprobs.exp() * k3(d)).sum(), divergence)
    assert abs((logprobs.exp() * k2(d)).sum() / divergence - 1) > 0.02


@pytest.mark.capability("RL-08")
def test_the_expected_gradients_of_k1_k2_and_k3_are_none_the_reverse_and_the_forward_divergences() -> None:
    logits, logprobs = policy()
    d, drawn = logprobs - REF, logprobs.exp().detach()
    reverse = gradient((logprobs.exp() * d).sum(), logits)
    forward = gradient((REF.exp() * (REF - logprobs)).sum(), logits)
    torch.testing.assert_close(gradient((drawn * d).sum(), logits), torch.zeros_like(logits))  # k1: refused as a loss
    torch.testing.assert_close(gradient((drawn * k2(d)).sum(), logits), reverse)
    torch.testing.assert_close(gradient((drawn * k3(d)).sum(), logits), forward)
    assert (forward - reverse).abs().max() > 0.01


@pytest.mark.capability("RL-08")
@pytest.mark.parametrize("drawn_from", ["policy", "old"])
def test_weighted_by_the_ratio_an_estimate_has_the_gradient_of_its_own_expectation(drawn_from: str) -> None:
    logits, logprobs = policy()
    d = logprobs - REF
    old = logprobs.detach() if drawn_from == "policy" else OLD
    ratio = (logprobs - old).exp()
    for estimate in KLS.values():
        found = gradient((old.exp() * KL_WEIGHTS["ratio"](ratio) * estimate(d)).sum(), logits)
        torch.testing.assert_close(found, gradient((logprobs.exp() * estimate(d)).sum(), logits))
    reverse = gradient((logprobs.exp() * d).sum(), logits)
    torch.testing.assert_close(gradient((old.exp() * ratio * k3(d)).sum(), logits), reverse)


def test_the_weight_one_is_constant_and_the_ratio_is_itself() -> None:
    ratio = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    assert KL_WEIGHTS["one"](ratio).tolist() == [1.0, 1.0]
    assert not KL_WEIGHTS["one"](ratio).requires_grad
    assert KL_WEIGHTS["ratio"](ratio) is ratio


def test_on_policy_the_weighted_k3_has_the_value_of_k3_and_the_gradient_of_k2() -> None:
    rows = [row([-1.0], ref_logprobs=[-1.7], advantages=[0.0])]
    weighted = descend(PolicyGradient(kl="k3", beta=1.0, kl_weight="ratio"), rows)
    assert weighted.value == pytest.approx(math.exp(-0.7) - 0.3, abs=1e-6)
    assert weighted.gradient[1].item() == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize(
    ("d", "value"), [(25.0, math.exp(-20) + 19), (-25.0, math.exp(20) - 21), (19.0, math.exp(-19) + 18)]
)
def test_k3_is_clamped_at_twenty_nats(d: float, value: float) -> None:
    assert k3(torch.tensor(d, dtype=torch.float64)).item() == pytest.approx(value, rel=1e-12)


def test_k3_of_a_tiny_gap_keeps_its_digits() -> None:
    assert k3(torch.tensor(1e-7, dtype=torch.float64)).item() == pytest.approx(0.5e-14, rel=0.02)


@pytest.mark.capability("RL-08")
def test_k1_is_refused_as_a_loss() -> None:
    with pytest.raises(RecipeError, match="kl is 'k1'"):
        PolicyGradient(kl="k1", beta=0.1)  # type: ignore[arg-type]
