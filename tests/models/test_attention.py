"""Under bfloat16 autocast attention stays in float32, and the model is left as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from strop.batches import collate
from strop.models import Policy
from training_rows import make_policy, make_rows


def in_bfloat16(family: str) -> Policy:
    policy = make_policy(family=family)
    return Policy(policy.model, policy.template, dtype=torch.bfloat16)


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma2", "granite", "gpt2"])
def test_bfloat16_follows_float32_within_its_precision_and_answers_in_float32(family: str) -> None:
    batch = collate(make_rows(6))
    policy = in_bfloat16(family)
    logprobs = policy.forward(batch).logprobs
    logprobs.sum().backward()
    assert logprobs.dtype == torch.float32
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in policy.trainable().values())
    expected = make_policy(family=family).forward(batch).logprobs
    assert 0 < float((logprobs - expected).detach().abs().max()) < 0.05  # 8 bits of mantissa


def test_sdpa_meets_float32_only_and_the_model_keeps_its_own_attention_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = set()
    original = torch.nn.functional.scaled_dot_product_attention

    def spy(query: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        seen.add((query.dtype, torch.is_autocast_enabled("cpu")))
        return original(query, *arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    policy = in_bfloat16("llama")
    policy.forward(collate(make_rows(3)))
    assert seen == {(torch.float32, False)}
    assert policy.model.config._attn_implementation == "sdpa"
