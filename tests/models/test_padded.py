"""The padded execution equals each sequence run alone, for every family, and packing changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.batches import collate
from strop.models import padded
from strop.models.policy import Policy
from strop.types import Batch, Sample
from tiny_models import make_model_folder

FAMILIES = ["llama", "qwen3", "mistral", "gemma2", "granite", "gpt2"]
LENGTHS = [23, 5, 40, 2, 17, 40, 9]  # beyond the attention windows of 16


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("families")
    return {family: load(make_model_folder(root / family, family)) for family in FAMILIES}


def policy_of(model: Any) -> Policy:
    return Policy(model, template=None)  # type: ignore[arg-type]


def samples_of(lengths: list[int], *, seed: int = 0, vocab_size: int = 300) -> list[Sample]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for row, length in enumerate(lengths):
        ids = torch.randint(0, vocab_size, (length,), generator=generator).tolist()
        trained = (torch.rand(length, generator=generator) < 0.7).tolist()
        found.append(Sample(name=f"row-{row}", token_ids=tuple(ids), loss_mask=(False, *trained[1:])))
    return found


def alone(model: Any, sample: Sample, temperature: float = 1.0) -> torch.Tensor:
    """The slow independent version: one row, no padding, no mask, all logits, float64 log-softmax."""
    ids = torch.tensor([sample.token_ids])
    logprobs = (model(ids).logits[0].double() / temperature).log_softmax(-1)
    found = torch.zeros(len(sample.token_ids), dtype=torch.float64)
    for t in range(1, len(sample.token_ids)):
        if sample.loss_mask[t]:
            found[t] = logprobs[t - 1, sample.token_ids[t]]
    return found


def by_row(values: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    return {name: values[batch.sequence_ids == row] for row, name in enumerate(batch.names)}


@pytest.mark.capability("AB-packed-equals-unpacked", "AB-shift-by-one", "AB-padding-invariance")
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_every_family_equals_each_sequence_run_alone(families: dict[str, Any], family: str) -> None:
    model = families[family]
    samples = samples_of(LENGTHS)
    batch = collate(samples)
    logprobs = by_row(policy_of(model).forward(batch).logprobs, batch)
    for sample in samples:
        assert logprobs[sample.name].dtype == torch.float32
        torch.testing.assert_close(logprobs[sample.name].double(), alone(model, sample), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_weights_are_sharp_enough_to_show_a_wrong_window_or_scale(families: dict[str, Any], family: str) -> None:
    logprobs = policy_of(families[family]).forward(collate(samples_of([40]))).logprobs
    assert logprobs.std() > 0.5  # a default initialisation stays near -log(vocabulary) everywhere


@pytest.mark.capability("AB-temperature-in-logp")
@torch.no_grad()
def test_temperature_divides_the_logits(families: dict[str, Any]) -> None:
    model, samples = families["llama"], samples_of([12, 7])
    batch = collate(samples)
    logprobs = by_row(policy_of(model).forward(batch, temperature=0.7).logprobs, batch)
    for sample in samples:
        torch.testing.assert_close(logprobs[sample.name].double(), alone(model, sample, 0.7), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_entropy_is_that_of_the_distribution_each_token_was_drawn_from(families: dict[str, Any]) -> None:
    model = families["qwen3"]
    sample = Sample(name="a", token_ids=(5, 9, 31, 7), loss_mask=(False, True, False, True))
    outputs = policy_of(model).forward(collate([sample]), frozenset({"logprobs", "entropy"}), temperature=1.3)
    p = (model(torch.tensor([sample.token_ids])).logits[0].double() / 1.3).softmax(-1)
    expected = -(p * p.log()).sum(-1)
    assert outputs.entropy is not None
    assert outputs.entropy[[0, 2]].tolist() == [0.0, 0.0]
    torch.testing.assert_close(outputs.entropy[[1, 3]].double(), expected[[0, 2]], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_entropy_is_computed_only_when_asked(families: dict[str, Any]) -> None:
    assert policy_of(families["llama"]).forward(collate(samples_of([4]))).entropy is None


def loss_and_gradients(model: Any, batches: list[Batch], max_padded_tokens: int) -> tuple[float, torch.Tensor]:
    policy = policy_of(model)
    policy.max_padded_tokens = max_padded_tokens
    model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = -(policy.forward(batch).logprobs).sum() / 100
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.capability("AB-packed-equals-unpacked", "AB-micro-batch-invariance")
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_packing_padding_order_and_micro_batches_change_neither_loss_nor_gradients(
    families: dict[str, Any], data: st.DataObject
) -> None:
    model = families[data.draw(st.sampled_from(FAMILIES))]
    samples = samples_of(
        data.draw(st.lists(st.integers(2, 40), min_size=2, max_size=6)), seed=data.draw(st.integers(0, 9))
    )
    if not any(any(sample.loss_mask) for sample in samples):
        return
    one_by_one = loss_and_gradients(model, [collate([s]) for s in samples if any(s.loss_mask)], 1)
    shuffled = data.draw(st.permutations(samples))
    cut = data.draw(st.integers(1, len(samples)))
    parts = [collate(part) for part in (shuffled[:cut], shuffled[cut:]) if any(any(s.loss_mask) for s in part)]
    together = loss_and_gradients(model, parts, data.draw(st.sampled_from([1, 64, 10_000])))
    assert together[0] == pytest.approx(one_by_one[0], rel=1e-5, abs=1e-6)
    scale = float(one_by_one[1].abs().max())
    torch.testing.assert_close(together[1], one_by_one[1], atol=2e-5 * scale, rtol=1e-4)


@torch.no_grad()
def test_a_model_without_logits_to_keep_gives_the_same_numbers(families: dict[str, Any]) -> None:
    batch = collate(samples_of(LENGTHS))
    policy = policy_of(families["granite"])
    expected = policy.forward(batch).logprobs
    assert policy._through_head is True
    policy._through_head = False
    torch.testing.assert_close(policy.forward(batch).logprobs, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_batch_without_trained_tokens_gives_zeros(families: dict[str, Any]) -> None:
    sample = Sample(name="a", token_ids=(5, 9, 31), loss_mask=(False, False, False))
    assert policy_of(families["llama"]).forward(collate([sample])).logprobs.tolist() == [0.0, 0.0, 0.0]


def test_buckets_respect_the_bound_and_hold_every_sequence_once() -> None:
    lengths = [3, 500, 40, 39, 41, 7, 512, 300]
    pieces = padded.buckets(lengths, 1024, 50)
    assert sorted(i for piece in pieces for i in piece) == list(range(8))
    assert all(len(p) == 1 or max(lengths[i] for i in p) * len(p) <= 1024 for p in pieces)
    assert pieces == [[6, 1], [7], [4, 2, 3, 5], [0]]  # 1 + 2 + 34 tokens of padding, the next would waste 38 more
