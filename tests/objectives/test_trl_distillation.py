"""The same logits through TRL's generalized Jensen-Shannon loss: equal values and gradients, and where it differs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from random_batches import VOCABULARY, descend, random_rows
from strop.batches import collate
from strop.objectives import gkd
from strop.types import Sample

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def taught(seed: int, tau: float = 1.0) -> tuple[list[Sample], Tensor]:
    """Random rows whose teacher lists every token, and that teacher's logits [N, V]."""
    rows = random_rows(seed, num_groups=4)
    generator = torch.Generator().manual_seed(seed)
    logits = []
    for sample in rows:
        teacher = torch.randn(len(sample.token_ids), VOCABULARY, generator=generator, dtype=torch.float64)
        sample.streams["teacher_top_ids"] = [list(range(VOCABULARY))] * len(teacher)  # type: ignore[index]
        sample.streams["teacher_top_logprobs"] = (teacher / tau).log_softmax(-1).tolist()  # type: ignore[index]
        logits.append(teacher)
    return rows, torch.cat(logits)


def theirs(rows: list[Sample], teacher: Tensor, beta: float, temperature: float) -> tuple[float, Tensor]:
    from trl.experimental.gkd import GKDTrainer

    batch = collate(rows)
    student = batch.streams["logits"].double().requires_grad_()
    labels = torch.where(batch.loss_mask, 1, -100)
    loss = GKDTrainer.generalized_jsd_loss(
        student[None], teacher[None], labels=labels[None], beta=beta, temperature=temperature
    )
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.item(), gradient


@pytest.mark.capability("DS-06")
@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_generalized_jsd_equals_trls_at_its_ends_and_between(beta: float) -> None:
    # β is the teacher's share of the mixture in both, and the ends are the same special cases.
    rows, teacher = taught(0)
    loss, gradient = theirs(rows, teacher, beta, 1.0)
    ours = descend(gkd(beta=beta), rows)
    assert ours.value == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(ours.gradient_of("logits"), gradient, rtol=1e-4, atol=1e-6)


def test_trl_leaves_tau_squared_out_so_its_gradients_shrink_as_its_temperature_grows() -> None:
    """Ours is Hinton's: τ² keeps the gradient's size, and so the balance with other terms and the learning rate."""
    tau = 2.5
    rows, teacher = taught(1, tau)
    loss, gradient = theirs(rows, teacher, 0.5, tau)
    ours = descend(gkd(beta=0.5, tau=tau), rows)
    assert ours.value == pytest.approx(tau**2 * loss, rel=1e-5)
    torch.testing.assert_close(ours.gradient_of("logits"), tau**2 * gradient, rtol=1e-4, atol=1e-6)


def test_a_vocabulary_entry_masked_out_in_both_models_breaks_trls_loss_and_not_ours() -> None:
    """Ours is right: a token that neither can say adds nothing. F.kl_div takes -inf minus -inf."""
    rows, teacher = taught(2)
    teacher[:, 0] = -math.inf
    for sample in rows:
        sample.streams["logits"] = [[-math.inf, *row[1:]] for row in sample.streams["logits"]]  # type: ignore[index]
    start = 0
    for sample in rows:
        part = teacher[start : start + len(sample.token_ids)]
        sample.streams["teacher_top_logprobs"] = part.log_softmax(-1).tolist()  # type: ignore[index]
        start += len(part)
    assert math.isnan(theirs(rows, teacher, 0.0, 1.0)[0])
    ours = descend(gkd(beta=0.0), rows)
    assert math.isfinite(ours.value)
    assert ours.gradient_of("logits").isfinite().all()
    narrow = [
        Sample(
            name=sample.name,
            token_ids=sample.token_ids,
            loss_mask=sample.loss_mask,
            streams={
                **sample.streams,
                "logits": [row[1:] for row in sample.streams["logits"]],
                "teacher_top_ids": [[i - 1 for i in row[1:]] for row in sample.streams["teacher_top_ids"]],
                "teacher_top_logprobs": [row[1:] for row in sample.streams["teacher_top_logprobs"]],
            },
            facts=sample.facts,
        )
        for sample in rows
    ]
    assert ours.value == pytest.approx(descend(gkd(beta=0.0), narrow).value, rel=1e-6)
