"""Packed rows teach a real model the same as single ones, and a model taught on documents stops where they end."""

from pathlib import Path

import pytest
import torch

from data_rows import talk
from strop.batches import collate
from strop.data import conversation_sample, document_samples, pack
from strop.models import Policy
from strop.objectives import CrossEntropy
from strop.sampling import TorchSampler
from strop.types import Document, Sample, SamplingParams

TEXTS = [
    "A short one.",
    "The quick brown fox jumps over the lazy dog.",
    "34 + 17 = 51; 51-9=42",
    "x",
    "Sales spent 1200.",
]


@pytest.fixture(scope="module")
def policy(chat_folder: Path) -> Policy:
    return Policy.load(chat_folder, device="cpu", dtype="float32")


def loss_and_gradients(policy: Policy, groups: list[list[Sample]]) -> tuple[float, dict[str, torch.Tensor]]:
    """One optimizer step's loss and gradients, the samples handed over in these groups."""
    objective, total = CrossEntropy(), 0.0
    num_tokens = float(sum(sum(sample.loss_mask) for group in groups for sample in group))
    policy.model.zero_grad()
    for group in groups:
        batch = collate(group)
        loss = objective(policy.forward(batch), batch, {"tokens": num_tokens})
        loss.value.backward()
        total += float(loss.value.detach())
    return total, {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}


def assert_packing_changes_nothing(policy: Policy, samples: list[Sample], capacity: int) -> None:
    bins = pack([len(sample.token_ids) for sample in samples], capacity)
    assert 1 < len(bins) < len(samples)
    packed, packed_gradients = loss_and_gradients(policy, [[samples[i] for i in members] for members in bins])
    alone, gradients = loss_and_gradients(policy, [[sample] for sample in samples])
    assert packed == pytest.approx(alone, abs=1e-5)
    scale = max(float(gradient.abs().max()) for gradient in gradients.values())
    assert gradients.keys() == packed_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.capability("CP-05")
def test_documents_in_one_bin_do_not_see_each_other(policy: Policy) -> None:
    documents = [Document(id=str(number), text=text) for number, text in enumerate(TEXTS)]
    samples = document_samples(policy.template, documents, max_length=10, mode="split")
    assert_packing_changes_nothing(policy, samples, 20)


@pytest.mark.capability("CP-07")
def test_packed_conversations_have_the_loss_of_single_ones(policy: Policy) -> None:
    rows = [talk(text, answer, name=text) for text, answer in zip(TEXTS, reversed(TEXTS))]
    samples = [conversation_sample(policy.template, row, max_length=64) for row in rows]
    assert_packing_changes_nothing(policy, samples, 90)


@pytest.mark.capability("CP-06")
def test_a_model_taught_on_a_document_stops_at_its_end(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    [sample] = document_samples(policy.template, [Document(id="d", text="ABCxyz")], max_length=24, mode="split")
    batch, objective = collate([sample]), CrossEntropy()
    optimizer = torch.optim.Adam(policy.model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        objective(policy.forward(batch), batch, objective.count(batch)).value.backward()
        optimizer.step()
    params = SamplingParams(temperature=0.0, max_new_tokens=20)
    [completion] = TorchSampler(policy).sample([sample.token_ids[:2]], params, seeds=[0])
    assert completion.token_ids == sample.token_ids[2:]
    assert completion.token_ids[-1] == policy.template.tokenizer.eos_token_id
    assert completion.finish_reason == "stop"
