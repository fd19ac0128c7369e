"""The same preferences through TRL's own losses: equal values, gradients and metrics, and where the two differ."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from random_batches import Descent, descend, masked_out, random_rows
from strop.objectives import DPO, IPO, KTO, ChosenCrossEntropy, RobustDPO, SimPO, Total, cpo, orpo, reference_point, rpo
from strop.types import Objective, Sample
from trl_stand_in import padded, stand_in, unpadded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
seeds = pytest.mark.parametrize("seed", [0, 1, 2])


# ------------------------------------------------------------------------------------- DPOTrainer: losses of log-ratios


def trl_dpo(rows: list[Sample], loss_types: list[str], **settings: Any) -> tuple[float, Tensor, dict[str, float]]:
    """``DPOTrainer._compute_loss`` on pairs of (chosen, rejected) rows: loss, gradient in the rows' order, metrics."""
    from trl.trainer.dpo_trainer import DPOTrainer

    sided = rows[0::2] + rows[1::2]
    num_pairs = len(rows) // 2
    mask = padded(sided, "loss_mask")
    logprobs = padded(sided, "logprobs").requires_grad_()
    ref = (padded(sided, "ref_logprobs") * mask).sum(1)
    outputs = SimpleNamespace(
        log_probs=(logprobs * mask)[:, 1:],
        entropy=torch.zeros_like(mask)[:, 1:],
        mean_logits=torch.zeros_like(mask)[:, 1:],
        is_top1=torch.zeros_like(mask, dtype=torch.bool)[:, 1:],
    )
    defaults = {
        "ld_alpha": None,
        "precompute_ref_logps": True,
        "f_divergence_type": "reverse_kl",
        "loss_types": loss_types,
        "loss_weights": [1.0] * len(loss_types),
        "label_smoothing": 0.0,
        "use_weighting": False,
    }
    trainer = stand_in(**{**defaults, **settings})
    inputs = {
        "input_ids": torch.zeros_like(mask, dtype=torch.int64),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": ref[:num_pairs],
        "ref_rejected_logps": ref[num_pairs:],
    }
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, return_outputs=False)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    by_row = dict(zip((s.name for s in sided), unpadded_rows(gradient, sided), strict=True))
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    return loss.item(), torch.cat([by_row[sample.name] for sample in rows]), metrics


def unpadded_rows(gradient: Tensor, rows: list[Sample]) -> list[Tensor]:
    return list(unpadded(gradient, rows).split([len(sample.token_ids) for sample in rows]))


def assert_equal(ours: Descent, loss: float, gradient: Tensor) -> None:
    """TRL computes in float32, hence the tolerances."""
    assert ours.value == pytest.approx(loss, rel=1e-5, abs=1e-6)
    torch.testing.assert_close(ours.gradient.float(), gradient, rtol=1e-4, atol=1e-6)


@seeds
def test_dpo_equals_trls(seed: int) -> None:
    rows = random_rows(seed, num_groups=4)
    loss, gradient, metrics = trl_dpo(rows, ["sigmoid"], beta=0.3)
    ours = descend(DPO(beta=0.3), rows)
    assert_equal(ours, loss, gradient)
    assert ours.metrics["rewards_chosen"] == pytest.approx(metrics["rewards/chosen"], rel=1e-4)
    assert ours.metrics["rewards_rejected"] == pytest.approx(metrics["rewards/rejected"], rel=1e-4)
    assert ours.metrics["accuracy"] == pytest.approx(metrics["rewards/accuracies"])
    assert 0.3 * ours.metrics["margin"] == pytest.approx(metrics["rewards/margins"], rel=1e-4)
    assert ours.metrics["logps_chosen"] == pytest.approx(metrics["logps/chosen"], rel=1e-5)
    assert ours.metrics["logps_rejected"] == pytest.approx(metrics["logps/rejected"], rel=1e-5)


@seeds
def test_conservative_dpo_equals_trls_smoothed_logistic_loss_of_single_pairs(seed: int) -> None:
    """TRL 1.16 keeps that formula in ``aot``, which sorts pairs: with one pair there is nothing to sort."""
    rows = random_rows(seed, num_groups=1)
    loss, gradient, _ = trl_dpo(rows, ["aot"], beta=0.3, label_smoothing=0.2)
    assert_equal(descend(DPO(beta=0.3, label_smoothing=0.2), rows), loss, gradient)


def test_trls_dpo_ignores_label_smoothing() -> None:
    """TRL 1.16's ``sigmoid`` never reads the setting: whoever asks for conservative DPO trains plain DPO, untold."""
    rows = random_rows(0, num_groups=4)
    loss, gradient, _ = trl_dpo(rows, ["sigmoid"], beta=0.3, label_smoothing=0.2)
    assert_equal(descend(DPO(beta=0.3), rows), loss, gradient)
    assert descend(DPO(beta=0.3, label_smoothing=0.2), rows).value != pytest.approx(loss, rel=1e-3)


@seeds
def test_robust_dpo_equals_trls(seed: int) -> None:
    rows = random_rows(seed, num_groups=4)
    loss, gradient, _ = trl_dpo(rows, ["robust"], beta=0.3, label_smoothing=0.2)
    assert_equal(descend(RobustDPO(beta=0.3, flip_probability=0.2), rows), loss, gradient)


@seeds
def test_ipo_of_means_equals_trls_and_of_sums_does_not(seed: int) -> None:
    """TRL averages over tokens as the authors did; the paper's notation and the DPO repository sum."""
    rows = random_rows(seed, num_groups=4)
    loss, gradient, metrics = trl_dpo(rows, ["ipo"], beta=0.3)
    ours = descend(IPO(beta=0.3), rows)
    assert_equal(ours, loss, gradient)
    assert descend(IPO(beta=0.3, reduction="sum"), rows).value != pytest.approx(loss, rel=1e-4)
    # TRL's rewards stay sums although its loss is of means; ours are what the loss compares.
    sums = descend(DPO(beta=0.3), rows).metrics
    assert sums["rewards_chosen"] == pytest.approx(metrics["rewards/chosen"], rel=1e-4)
    assert ours.metrics["rewards_chosen"] != pytest.approx(metrics["rewards/chosen"], rel=1e-2)


@seeds
def test_rpo_by_token_means_equals_trls_sigmoid_and_sft(seed: int) -> None:
    rows = random_rows(seed, num_groups=4)
    loss, gradient, _ = trl_dpo(rows, ["sigmoid", "sft"], beta=0.3, loss_weights=[1.0, 0.7])
    assert_equal(descend(rpo(beta=0.3, weight=0.7, aggregate="token_mean"), rows), loss, gradient)


def test_a_tie_is_half_right_here_and_wrong_in_trl() -> None:
    """At the reference every pair ties: 0.5 is what guessing earns, TRL's strict comparison logs 0."""
    rows = [
        replace(sample, streams={**sample.streams, "ref_logprobs": sample.streams["logprobs"]})
        for sample in random_rows(0, num_groups=4)
    ]
    loss, _, metrics = trl_dpo(rows, ["sigmoid"], beta=0.3)
    ours = descend(DPO(beta=0.3), rows)
    assert ours.value == pytest.approx(loss) == pytest.approx(math.log(2))
    assert metrics["rewards/accuracies"] == 0.0
    assert ours.metrics["accuracy"] == 0.5


def test_a_pair_with_an_empty_answer_is_left_out_here_and_trained_in_trl() -> None:
    """An answer that truncation left empty has log-ratio 0 in TRL, and its partner is pushed for no preference."""
    rows = random_rows(0, num_groups=2)
    broken = [masked_out(rows[0]), *rows[1:]]
    _, gradient, _ = trl_dpo(broken, ["sigmoid"], beta=0.3)
    first, second = gradient.split([sum(len(s.token_ids) for s in rows[:2]), sum(len(s.token_ids) for s in rows[2:])])
    assert first.any()
    ours = descend(DPO(beta=0.3), broken)
    assert not ours.gradients[rows[1].name].any()
    # TRL divides by the pair that taught nothing, too.
    torch.testing.assert_close(ours.gradient[len(first) :].float(), 2 * second, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------- KTOTrainer: single rows, one reference


def trl_kto(rows: list[Sample], kl: list[Sample], **settings: Any) -> tuple[float, Tensor, dict[str, float]]:
    """``KTOTrainer._compute_loss`` with ``kl`` as its mismatched rows."""
    from trl.trainer.kto_trainer import KTOTrainer

    mask, kl_mask = padded(rows, "loss_mask"), padded(kl, "loss_mask")
    logprobs = padded(rows, "logprobs").requires_grad_()
    outputs = SimpleNamespace(
        log_probs=(logprobs * mask)[:, 1:],
        entropy=torch.zeros_like(mask)[:, 1:],
        mean_logits=torch.zeros_like(mask)[:, 1:],
    )
    kl_outputs = SimpleNamespace(log_probs=(padded(kl, "logprobs") * kl_mask)[:, 1:])
    passes = iter([kl_outputs, outputs])
    trainer = stand_in(calculate_KL=True, precompute_ref_logps=True, loss_type="kto", **settings)
    trainer._compute_kl_logps = MethodType(KTOTrainer._compute_kl_logps, trainer)
    inputs = {
        "label": torch.tensor([sample.facts["preferred"] == 1 for sample in rows]),
        "ref_logps": (padded(rows, "ref_logprobs") * mask).sum(1),
        "ref_KL_logps": (padded(kl, "ref_logprobs") * kl_mask).sum(1),
    }
    for prefix, of in (("", mask), ("KL_", kl_mask)):
        inputs[f"{prefix}input_ids"] = torch.zeros_like(of, dtype=torch.int64)
        inputs[f"{prefix}attention_mask"] = torch.ones_like(of)
        inputs[f"{prefix}completion_mask"] = of
    loss = KTOTrainer._compute_loss(trainer, lambda **_: next(passes), inputs, return_outputs=False)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    return loss.item(), unpadded(gradient, rows), metrics


def log_ratios(rows: list[Sample]) -> Tensor:
    mask = padded(rows, "loss_mask")
    return ((padded(rows, "logprobs") - padded(rows, "ref_logprobs")) * mask).sum(1)


def with_reference_point(rows: list[Sample], kl: list[Sample]) -> list[Sample]:
    point = reference_point(log_ratios(kl)).item()
    return [replace(sample, facts={**sample.facts, "reference_kl": point}) for sample in rows]


def mismatched(seed: int, shift: float) -> list[Sample]:
    return [
        replace(s, streams={**s.streams, "ref_logprobs": tuple(x - shift for x in s.streams["ref_logprobs"])})
        for s in random_rows(seed + 100)
    ]


@seeds
@pytest.mark.parametrize("shift", [0.5, -2.0])
def test_kto_equals_trls(seed: int, shift: float) -> None:
    """With a reference point above 0 (shift 0.5), and one that is clamped there (-2)."""
    rows, kl = random_rows(seed), mismatched(seed, shift)
    weights = {"desirable_weight": 1.3, "undesirable_weight": 0.6}
    loss, gradient, metrics = trl_kto(rows, kl, beta=0.3, **weights)
    ours = descend(KTO(beta=0.3, **weights), with_reference_point(rows, kl))
    assert_equal(ours, loss, gradient)
    assert ours.metrics["reference_kl"] == pytest.approx(metrics["kl"], rel=1e-5)
    assert (metrics["kl"] > 0) == (shift > 0)
    for side, kind in (("chosen", "desirable"), ("rejected", "undesirable")):
        assert ours.metrics[f"rewards_{kind}"] == pytest.approx(metrics[f"rewards/{side}"], rel=1e-4)
        assert ours.metrics[f"logps_{kind}"] == pytest.approx(metrics[f"logps/{side}"], rel=1e-4)


def test_ktos_reference_point_is_of_the_step_here_and_of_the_micro_batch_in_trl() -> None:
    """TRL follows the paper's estimate in every microbatch, so half the micro-batch size is another objective."""
    rows, kl = random_rows(3, num_groups=4), mismatched(3, 0.5)[:4]
    halves = [trl_kto(rows[:4], kl[:2], beta=0.3, **EVEN)[0], trl_kto(rows[4:], kl[2:], beta=0.3, **EVEN)[0]]
    whole = trl_kto(rows, kl, beta=0.3, **EVEN)[0]
    assert sum(halves) / 2 != pytest.approx(whole, rel=1e-4)
    ours = descend(KTO(beta=0.3), with_reference_point(rows, kl), max_tokens=1)
    assert ours.value == pytest.approx(whole, rel=1e-5)


EVEN = {"desirable_weight": 1.0, "undesirable_weight": 1.0}


def test_a_row_of_nan_is_dropped_in_trl_and_seen_here() -> None:
    """TRL's ``nanmean`` hides a broken row from the loss; here the loss is nan, and the loop can stop and name it."""
    rows, kl = random_rows(0), mismatched(0, 0.5)
    streams = {**rows[0].streams, "logprobs": (math.nan,) * len(rows[0].token_ids)}
    broken = [replace(rows[0], streams=streams), *rows[1:]]
    assert math.isfinite(trl_kto(broken, kl, beta=0.3, **EVEN)[0])
    assert math.isnan(descend(KTO(beta=0.3), with_reference_point(broken, kl)).value)


def test_a_row_without_trained_tokens_is_a_constant_in_trls_kto_and_counts_nowhere_here() -> None:
    rows, kl = random_rows(0), mismatched(0, 0.5)
    broken = [masked_out(rows[0]), *rows[1:]]
    _, gradient, _ = trl_kto(broken, kl, beta=0.3, **EVEN)
    ours = descend(KTO(beta=0.3), with_reference_point(broken, kl))
    torch.testing.assert_close(ours.gradient.float(), gradient * len(rows) / (len(rows) - 1), rtol=1e-4, atol=1e-6)


# --------------------------------------------------------------------- ORPOTrainer and CPOTrainer: losses of the logits

VOCABULARY = 6


class Sided:
    """Pairs with prompts of ``prompt`` tokens and random logits, as TRL's trainers and as our rows see them."""

    def __init__(self, seed: int, prompt: int = 1, num_pairs: int = 3) -> None:
        generator = np.random.default_rng(seed)
        self.prompt = prompt
        self.lengths = [prompt + int(generator.integers(1, 6)) for _ in range(2 * num_pairs)]
        self.tokens = [generator.integers(0, VOCABULARY, length).tolist() for length in self.lengths]
        shape = (2 * num_pairs, max(self.lengths), VOCABULARY)
        self.logits = torch.tensor(generator.normal(0, 2, shape), dtype=torch.float32, requires_grad=True)

    def trl_batch(self) -> dict[str, Tensor]:
        """Chosen rows first, then rejected ones, padded on the right."""
        half, width = len(self.tokens) // 2, max(self.lengths)
        batch = {}
        for side, rows in (("chosen", self.tokens[:half]), ("rejected", self.tokens[half:])):
            batch[f"{side}_input_ids"] = torch.tensor([t + [0] * (width - len(t)) for t in rows])
            batch[f"{side}_attention_mask"] = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t in rows])
            labels = [[-100] * self.prompt + t[self.prompt :] + [-100] * (width - len(t)) for t in rows]
            batch[f"{side}_labels"] = torch.tensor(labels)
        return batch

    def logprobs(self) -> list[Tensor]:
        """Of every row's tokens, from the position before; 0 for the first token."""
        found = []
        for logits, tokens in zip(self.logits.log_softmax(-1), self.tokens, strict=True):
            picked = logits[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])]
            found.append(torch.cat([torch.zeros(1), picked]))
        return found

    def rows(self, *, trained_from: int) -> list[Sample]:
        """Ours, pair by pair."""
        samples = [
            Sample(
                name=str(number),
                token_ids=tuple(tokens),
                loss_mask=tuple(place >= trained_from for place in range(len(tokens))),
                streams={"logprobs": logprobs.tolist(), "ref_logprobs": [0.0] * len(tokens)},
                facts={"group_ids": number % 3, "preferred": float(number < 3)},
            )
            for number, (tokens, logprobs) in enumerate(zip(self.tokens, self.logprobs(), strict=True))
        ]
        return [samples[index] for pair in range(3) for index in (pair, pair + 3)]

    def descend(self, objective: Objective) -> tuple[Descent, Tensor]:
        """What our objective makes of the answers, and its gradient with respect to the logits."""
        result = descend(objective, self.rows(trained_from=self.prompt))
        upstream = [result.gradients[str(number)].float() for number in range(len(self.tokens))]
        (gradient,) = torch.autograd.grad(torch.cat(self.logprobs()), self.logits, torch.cat(upstream))
        return result, gradient


def trl_of_logits(trainer_class: Any, sided: Sided, **settings: Any) -> tuple[float, Tensor, dict[str, float]]:
    """``get_batch_loss_metrics`` of ORPOTrainer or CPOTrainer: loss, gradient with respect to the logits, metrics."""
    trainer = stand_in(is_encoder_decoder=False, padding_value=0, pad_token_id=0, **settings)
    for name in ("concatenated_inputs", "get_batch_logps"):
        setattr(trainer, name, getattr(trainer_class, name))
    for name in ("concatenated_forward", "odds_ratio_loss", "cpo_loss"):
        if hasattr(trainer_class, name):
            setattr(trainer, name, MethodType(getattr(trainer_class, name), trainer))
    model = lambda *_, **__: SimpleNamespace(logits=sided.logits)  # noqa: E731
    loss, metrics = trainer_class.get_batch_loss_metrics(trainer, model, sided.trl_batch())
    (gradient,) = torch.autograd.grad(loss, sided.logits)
    return loss.item(), gradient, metrics


def trl_orpo(sided: Sided, beta: float) -> tuple[float, Tensor, dict[str, float]]:
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    return trl_of_logits(ORPOTrainer, sided, beta=beta)


def trl_cpo(sided: Sided, **settings: Any) -> tuple[float, Tensor, dict[str, float]]:
    from trl.experimental.cpo.cpo_trainer import CPOTrainer

    defaults = {"alpha": 0.0, "label_smoothing": 0.0, "loss_type": "sigmoid", "cpo_alpha": 1.0}
    return trl_of_logits(CPOTrainer, sided, **{**defaults, **settings})


def assert_equal_by_logits(sided: Sided, objective: Objective, loss: float, gradient: Tensor) -> Descent:
    ours, mine = sided.descend(objective)
    assert ours.value == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(mine, gradient, rtol=1e-4, atol=1e-6)
    return ours


@pytest.mark.capability("PR-09")
@seeds
def test_orpo_equals_trls_where_the_prompt_has_nothing_to_predict(seed: int) -> None:
    sided = Sided(seed, prompt=1)
    loss, gradient, metrics = trl_orpo(sided, beta=0.3)
    ours = assert_equal_by_logits(sided, orpo(weight=0.3), loss, gradient)
    assert ours.metrics["nll_chosen"] == pytest.approx(metrics["nll_loss"], rel=1e-5)
    assert ours.metrics["margin"] == pytest.approx(metrics["log_odds_chosen"], rel=1e-5)
    assert ours.metrics["logps_chosen"] == pytest.approx(metrics["logps/chosen"], rel=1e-5)
    assert ours.metrics["logps_rejected"] == pytest.approx(metrics["logps/rejected"], rel=1e-5)
    # TRL's rewards are λ l, without the odds; ours are the log-odds that are compared.
    assert metrics["rewards/chosen"] == pytest.approx(0.3 * ours.metrics["logps_chosen"], rel=1e-5)


def test_orpos_likelihood_trains_the_prompt_in_trl_and_the_answer_here() -> None:
    """A prompt is not what the policy says: training on it is pre-training on the questions, not part of the method."""
    sided = Sided(0, prompt=4)
    loss, _, metrics = trl_orpo(sided, beta=0.3)
    ours, _ = sided.descend(orpo(weight=0.3))
    assert ours.value != pytest.approx(loss, rel=1e-3)
    assert ours.metrics["margin"] == pytest.approx(metrics["log_odds_chosen"], rel=1e-5)
    with_prompt = descend(ChosenCrossEntropy(), sided.rows(trained_from=1))
    assert with_prompt.value == pytest.approx(metrics["nll_loss"], rel=1e-5)
    odds_only = loss - metrics["nll_loss"]
    assert ours.value - ours.metrics["nll_chosen"] == pytest.approx(odds_only, rel=1e-4)


@pytest.mark.capability("AB-ORPO-p-1-finite")
def test_a_certain_answer_breaks_trls_orpo_and_not_ours() -> None:
    """At p = 1 in float32 TRL's log1mexp is -inf with a nan gradient; ours resolves 1 - p down to float32's spacing."""
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    certain = torch.zeros(1, requires_grad=True)
    losses, *_ = ORPOTrainer.odds_ratio_loss(stand_in(beta=1.0), certain, torch.tensor([-1.0]))
    (gradient,) = torch.autograd.grad(losses.sum(), certain)
    assert gradient.isnan().all()
    sided = Sided(0)
    with torch.no_grad():
        for number, tokens in enumerate(sided.tokens):
            sided.logits[number, torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])] = 1e3
    ours, mine = sided.descend(orpo())
    assert math.isfinite(ours.value)
    assert mine.isfinite().all()


@seeds
def test_simpo_equals_trls(seed: int) -> None:
    """TRL names the same γ: its ``simpo_gamma`` is divided by β before β multiplies the margin."""
    sided = Sided(seed, prompt=3)
    loss, gradient, metrics = trl_cpo(sided, loss_type="simpo", beta=2.5, simpo_gamma=0.7, cpo_alpha=0.0)
    ours = assert_equal_by_logits(sided, SimPO(beta=2.5, gamma=0.7), loss, gradient)
    assert ours.metrics["rewards_chosen"] == pytest.approx(metrics["rewards/chosen"], rel=1e-5)
    assert ours.metrics["rewards_rejected"] == pytest.approx(metrics["rewards/rejected"], rel=1e-5)
    assert 2.5 * ours.metrics["margin"] == pytest.approx(metrics["rewards/margins"], rel=1e-4)


@seeds
def test_cpo_equals_trls(seed: int) -> None:
    sided = Sided(seed, prompt=3)
    loss, gradient, metrics = trl_cpo(sided, beta=0.2, cpo_alpha=0.6)
    ours = assert_equal_by_logits(sided, cpo(beta=0.2, weight=0.6), loss, gradient)
    assert ours.metrics["nll_chosen"] == pytest.approx(metrics["nll_loss"], rel=1e-5)
    assert ours.metrics["logps_chosen"] == pytest.approx(metrics["logps/chosen"], rel=1e-5)


@seeds
def test_cpo_simpo_equals_trls(seed: int) -> None:
    sided = Sided(seed, prompt=2)
    loss, gradient, _ = trl_cpo(sided, loss_type="simpo", beta=2.0, simpo_gamma=0.5, cpo_alpha=0.4)
    objective = Total(((1.0, SimPO(beta=2.0, gamma=0.5)), (0.4, ChosenCrossEntropy())))
    assert_equal_by_logits(sided, objective, loss, gradient)


@seeds
def test_conservative_dpo_against_a_uniform_reference_equals_trls_smoothed_cpo(seed: int) -> None:
    sided = Sided(seed, prompt=2)
    loss, gradient, _ = trl_cpo(sided, beta=0.2, label_smoothing=0.15, cpo_alpha=0.0)
    assert_equal_by_logits(sided, DPO(beta=0.2, label_smoothing=0.15), loss, gradient)
