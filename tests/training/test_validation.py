"""Validation counts its denominators over everything, and the best weights are those of the lowest loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from strop.batches import collate
from strop.errors import CheckpointError
from strop.models import LoRA
from strop.objectives import CrossEntropy
from strop.training import AdamW, load_best, save_best, train, validate
from training_rows import make_policy, make_rows, make_stream


def test_validation_loss_is_the_mean_over_all_supervised_tokens() -> None:
    policy, rows = make_policy(), make_rows(9)
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            logprobs = policy.model(torch.tensor([row.token_ids])).logits[0].log_softmax(-1)
            for t in range(1, len(row.token_ids)):
                if row.loss_mask[t]:
                    total, count = total - float(logprobs[t - 1, row.token_ids[t]]), count + 1
    whole = validate(policy, CrossEntropy(), [collate(rows)])
    parts = validate(policy, CrossEntropy(), [collate(rows[:2]), collate(rows[2:])], micro_batch_tokens=30)
    assert whole["loss"] == pytest.approx(total / count, abs=1e-5)
    assert parts["loss"] == pytest.approx(total / count, abs=1e-5)


def test_validation_changes_nothing_and_keeps_no_gradient() -> None:
    policy = make_policy(lora=LoRA(rank=4, dropout=0.5))
    before = policy.digest()
    first, second = (validate(policy, CrossEntropy(), [collate(make_rows(4))]) for _ in range(2))
    assert first == second
    assert policy.digest() == before
    assert all(p.grad is None for p in policy.model.parameters())


def test_the_best_weights_are_kept_and_given_back(tmp_path: Path) -> None:
    policy = make_policy()
    losses = {1: 3.0, 2: 1.0, 3: 2.0, 4: 1.0, 5: float("nan")}
    digests, kept = {}, []
    for step in train(policy, make_stream(make_rows(16)), CrossEntropy(), optimizer=AdamW(lr=1e-2), num_steps=5):
        digests[step.number] = policy.digest()
        if save_best(policy, tmp_path, step=step.number, loss=losses[step.number]):
            kept.append(step.number)
    assert kept == [1, 2]  # the earlier of equals stays, and what is not a number is never the best
    assert [path.name for path in tmp_path.iterdir()] == ["best_000002"]
    record = load_best(policy, tmp_path)
    assert (record.step, record.loss) == (2, 1.0)
    assert policy.digest() == digests[2]


def test_a_torn_best_is_passed_over(tmp_path: Path) -> None:
    policy = make_policy()
    save_best(policy, tmp_path, step=1, loss=1.0)
    (tmp_path / "best_000001" / "policy.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="no best weights"):
        load_best(policy, tmp_path)
