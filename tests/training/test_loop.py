"""The training loop: parity with a plain loop, determinism, micro-batches, and the guard that names the sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.batches import collate
from strop.errors import CheckpointError, DataError, MemoryLimitError, NonFiniteError
from strop.models import LoRA, Policy
from strop.objectives import CrossEntropy
from strop.training import AdamW, Step, train
from strop.types import Batch, Loss, Outputs, Sample
from training_rows import make_policy, make_rows, make_stream

ROWS = make_rows(32)


def run(policy: Policy, *, num_steps: int = 6, rows: list[Sample] = ROWS, **options: Any) -> list[Step]:
    optimizer = options.pop("optimizer", AdamW(lr=1e-2, schedule="cosine", warmup=0.3))
    return list(train(policy, make_stream(rows), CrossEntropy(), optimizer=optimizer, num_steps=num_steps, **options))


def plain_loop(
    model: Any, rows: list[Sample], num_steps: int, lr: float, weight_decay: float, clip: float
) -> list[float]:
    """SFT as a textbook writes it: padded rows, labels of -100, a shifted cross-entropy, torch's AdamW."""
    vectors = [p for p in model.parameters() if p.dim() < 2]
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    losses = []
    for step in range(num_steps):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(step // 4)).tolist()
        batch = [rows[i] for i in order[step % 4 * 8 : step % 4 * 8 + 8]]
        width = max(len(row.token_ids) for row in batch)
        ids, labels, mask = (torch.full((8, width), fill) for fill in (0, -100, 0))
        for i, row in enumerate(batch):
            length = len(row.token_ids)
            ids[i, :length] = torch.tensor(row.token_ids)
            mask[i, :length] = 1
            labels[i, :length] = torch.tensor([t if m else -100 for t, m in zip(row.token_ids, row.loss_mask)])
        logits = model(input_ids=ids, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1)
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_losses_follow_a_plain_torch_loop_step_for_step(family: str) -> None:
    expected = plain_loop(make_policy(family=family).model, ROWS, 10, lr=3e-3, weight_decay=0.1, clip=0.5)
    optimizer = AdamW(lr=3e-3, warmup=0.0, weight_decay=0.1, max_grad_norm=0.5)
    steps = run(make_policy(family=family), num_steps=10, optimizer=optimizer, micro_batch_tokens=50)
    assert [step.loss for step in steps] == pytest.approx(expected, abs=1e-5)
    assert expected[-1] < expected[0]


@pytest.mark.capability("IM-01")
@pytest.mark.parametrize("lora", [None, LoRA(rank=4, dropout=0.2)])
def test_the_same_settings_give_the_same_losses_and_weights_to_the_bit(lora: LoRA | None) -> None:
    first, second = make_policy(lora=lora), make_policy(lora=lora)
    curves = [[(step.loss, step.grad_norm) for step in run(policy)] for policy in (first, second)]
    assert curves[0] == curves[1]
    assert first.digest() == second.digest()


def test_another_seed_draws_another_dropout() -> None:
    lora = LoRA(rank=4, dropout=0.5)
    optimizer = AdamW(lr=1e-2, warmup=0.0)
    curves = [[step.loss for step in run(make_policy(lora=lora), optimizer=optimizer, seed=seed)] for seed in (0, 1)]
    assert curves[0][0] == curves[1][0]  # B = 0: the first loss knows no dropout
    assert curves[0][1:] != curves[1][1:]


def test_training_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    policy = make_policy(lora=LoRA(rank=4, dropout=0.5))
    torch.set_rng_state(before)
    run(policy, num_steps=2)
    assert torch.equal(torch.get_rng_state(), before)


@settings(max_examples=8, deadline=None)
@given(micro_batch_tokens=st.integers(1, 300))
def test_micro_batches_change_nothing_beyond_rounding(micro_batch_tokens: int) -> None:
    optimizer = AdamW(lr=1e-3, warmup=0.0)
    whole = run(make_policy(), num_steps=3, optimizer=optimizer, micro_batch_tokens=10_000)
    parts = run(make_policy(), num_steps=3, optimizer=optimizer, micro_batch_tokens=micro_batch_tokens)
    for one, other in zip(whole, parts):
        assert other.loss == pytest.approx(one.loss, abs=1e-5)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
        assert other.metrics["nll"] == pytest.approx(one.metrics["nll"], abs=1e-5)


def test_only_the_adapter_moves_and_the_base_stays_byte_identical() -> None:
    policy = make_policy(lora=LoRA(rank=4))
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    run(policy, num_steps=2)
    for name, parameter in policy.model.named_parameters():
        assert parameter.grad is None, "gradients are dropped after the step"
        assert torch.equal(parameter, before[name]) == (".lora_" not in name), name


def test_an_online_stream_meets_the_policy_as_it_is_now() -> None:
    policy, seen = make_policy(), []

    def stream(policy: Policy, start: Mapping[str, Any] | None = None) -> Iterator[Batch]:
        while True:
            seen.append(policy.digest())
            yield collate(ROWS[:4])

    steps = train(policy, stream, CrossEntropy(), optimizer=AdamW(lr=1e-2, warmup=0.0), num_steps=3)
    for step in steps:
        assert len(seen) == step.number, "the batch of a step is made when the step is asked for"
        assert policy.digest() != seen[-1]
    assert len(set(seen)) == 3


def test_a_step_tells_what_it_trained_on() -> None:
    step = run(make_policy(), num_steps=1)[0]
    batch = next(make_stream(ROWS)(make_policy()))
    assert (step.number, step.num_steps) == (1, 1)
    assert (step.num_tokens, step.num_trained_tokens) == (batch.num_tokens, int(batch.loss_mask.sum()))


def test_the_gradient_is_clipped_and_its_norm_told_before_clipping() -> None:
    # With betas of 0 and a huge eps the update is lr * g / eps, so its length shows the clipped gradient.
    optimizer = AdamW(lr=1e3, warmup=0.0, betas=(0.0, 0.0), eps=1e6, max_grad_norm=0.01)
    policy = make_policy()
    before = policy.state()
    step = run(policy, num_steps=1, optimizer=optimizer)[0]
    moved = torch.sqrt(sum(((p - before[n]) ** 2).sum() for n, p in policy.state().items()))  # type: ignore[arg-type]
    assert step.grad_norm > 0.1
    assert float(moved) == pytest.approx(0.01 * 1e3 / 1e6, rel=0.05)


@dataclass(frozen=True)
class Poisoned(CrossEntropy):
    """Cross-entropy that breaks on rows holding one marked token."""

    token: int = 63
    value: float = float("nan")
    in_gradient: bool = False

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        loss = super().__call__(outputs, batch, totals)
        hit = (batch.token_ids == self.token) & batch.loss_mask
        if self.in_gradient:  # finite forward, infinite slope: sqrt at 0
            zero = (outputs.logprobs * hit).sum() * 0 if bool(hit.any()) else None
            return loss if zero is None else replace(loss, value=loss.value + zero.clamp(min=0).sqrt())
        return replace(loss, value=loss.value + (outputs.logprobs * hit).sum() * (self.value if bool(hit.any()) else 0))


@pytest.mark.parametrize("objective", [Poisoned(), Poisoned(value=float("inf")), Poisoned(in_gradient=True)])
@pytest.mark.parametrize("micro_batch_tokens", [40, 10_000])
def test_a_non_finite_step_names_the_sample_and_keeps_the_last_good_weights(
    objective: Poisoned, micro_batch_tokens: int
) -> None:
    clean = [replace(row, token_ids=tuple(t % 60 for t in row.token_ids)) for row in ROWS]
    bad = replace(clean[5], token_ids=(*clean[5].token_ids[:-1], 63))
    policy = make_policy()
    rows = [*clean[:5], bad, *clean[6:]]
    optimizer = AdamW(lr=1e-3, warmup=0.0)
    steps = train(
        policy, make_stream(rows), objective, optimizer=optimizer, num_steps=4, micro_batch_tokens=micro_batch_tokens
    )
    digests = [policy.digest()]
    with pytest.raises(NonFiniteError) as told:
        digests.extend(policy.digest() for _ in steps)
    assert "row-5" in told.value.where
    assert told.value.where.count("row-") == 1
    assert policy.digest() == digests[-1]
    assert all(p.grad is None for p in policy.trainable().values())


def test_groups_are_named_whole_by_the_guard() -> None:
    def stream(policy: Policy, start: Mapping[str, Any] | None = None) -> Iterator[Batch]:
        rows = [
            Sample(name=name, token_ids=(1, 2, last), loss_mask=(False, True, True), facts={"group_ids": group})
            for name, last, group in [("a", 3, 0), ("b", 4, 0), ("c", 63, 1), ("d", 5, 1)]
        ]
        yield collate(rows)

    with pytest.raises(NonFiniteError) as told:
        list(train(make_policy(), stream, Poisoned(), optimizer=AdamW(lr=1e-3), num_steps=1))
    assert told.value.where == "rows c, d"


def test_weights_that_an_update_broke_are_never_saved(tmp_path: Path) -> None:
    policy = make_policy()
    optimizer = AdamW(lr=1e38, warmup=0.0, max_grad_norm=float("inf"))
    steps = train(policy, make_stream(ROWS), CrossEntropy(), optimizer=optimizer, num_steps=3)
    step = next(steps)
    next(iter(policy.trainable().values())).data[0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match="the weights after step 1 are not finite"):
        step.save(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(NonFiniteError, match="the weights after step 1 are not finite"):
        next(steps)


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(DataError, match="ended after 2 of 3 steps"):
        list(train(make_policy(), make_stream(ROWS, limit=2), CrossEntropy(), optimizer=AdamW(lr=1e-3), num_steps=3))


def test_a_step_cannot_be_saved_once_the_loop_has_gone_on(tmp_path: Path) -> None:
    steps = train(make_policy(), make_stream(ROWS), CrossEntropy(), optimizer=AdamW(lr=1e-3), num_steps=2)
    first = next(steps)
    next(steps)
    with pytest.raises(CheckpointError, match="step 1 can no longer be saved"):
        first.save(tmp_path)


def test_running_out_of_memory_names_the_setting_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy()

    def exhausted(*arguments: Any, **options: Any) -> Outputs:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."
        )

    monkeypatch.setattr(policy, "forward", exhausted)
    with pytest.raises(MemoryLimitError, match="lower micro_batch_tokens"):
        run(policy, num_steps=1, micro_batch_tokens=64)
