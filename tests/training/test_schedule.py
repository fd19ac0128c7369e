"""Learning rates equal the papers' formulas at every step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from strop.errors import RecipeError
from strop.objectives import CrossEntropy
from strop.training import AdamW, train
from strop.training.schedule import Schedule, lr_factor, warmup_steps
from training_rows import make_policy, make_rows, make_stream


def cosine(t: int, num_steps: int, warmup: int, peak: float, floor: float) -> float:
    """Loshchilov & Hutter, 1608.03983, equation 5, after a linear warm-up."""
    if t < warmup:
        return peak * (t + 1) / (warmup + 1)
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * (t - warmup) / (num_steps - warmup)))


def wsd(t: int, num_steps: int, warmup: int, decay: int, peak: float) -> float:
    """Hägele et al., 2405.18392, equation 2 with the 1 - sqrt cooldown."""
    if t < warmup:
        return peak * (t + 1) / (warmup + 1)
    if t < num_steps - decay:
        return peak
    return peak * (1 - math.sqrt((t - (num_steps - decay)) / decay))


def test_cosine_by_hand() -> None:
    rates = [lr_factor("cosine", t, 6, warmup=1 / 3) for t in range(6)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 0.5 * (1 + math.sqrt(0.5)), 0.5, 0.5 * (1 - math.sqrt(0.5))])


def test_linear_by_hand() -> None:
    assert [lr_factor("linear", t, 4, min_lr_ratio=0.2) for t in range(4)] == pytest.approx([1, 0.8, 0.6, 0.4])


def test_constant_stays_after_the_warm_up() -> None:
    assert [lr_factor("constant", t, 5, warmup=0.4) for t in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])


def test_wsd_by_hand() -> None:
    rates = [lr_factor("wsd", t, 40, warmup=0.05) for t in range(40)]
    assert rates[:2] == pytest.approx([1 / 3, 2 / 3])
    assert rates[2:37] == pytest.approx([1.0] * 35)
    assert rates[37:] == pytest.approx([1 - math.sqrt(1 / 4), 1 - math.sqrt(2 / 4), 1 - math.sqrt(3 / 4)])


@pytest.mark.parametrize("num_steps", [1, 2, 7, 100])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "wsd"])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5, 0.99])
def test_every_step_trains_and_none_exceeds_the_peak(schedule: Schedule, num_steps: int, warmup: float) -> None:
    rates = [lr_factor(schedule, t, num_steps, warmup=warmup) for t in range(num_steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert warmup_steps(num_steps, warmup) < num_steps


@pytest.mark.capability("CP-16")
@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_the_rates_of_a_run_and_of_its_resumption_equal_the_formula(schedule: Schedule, tmp_path: Path) -> None:
    optimizer = AdamW(lr=2e-3, schedule=schedule, warmup=0.15, min_lr_ratio=0.1 if schedule == "cosine" else 0.0)
    rows = make_rows(16)

    def steps(resume: Path | None = None):  # type: ignore[no-untyped-def]
        return train(make_policy(), make_stream(rows), CrossEntropy(), optimizer=optimizer, num_steps=20, resume=resume)

    saved, rates = None, []
    for step in steps():
        rates.append(step.learning_rate)
        if step.number == 10:
            saved = step.save(tmp_path)
    resumed = [step.learning_rate for step in steps(saved)]
    if schedule == "cosine":
        expected = [cosine(t, 20, 3, 2e-3, 2e-4) for t in range(20)]
    else:
        expected = [wsd(t, 20, 3, 2, 2e-3) for t in range(20)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert resumed == rates[10:]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 1e-3, "schedule": "cosin"}, "schedule is cosin"),
        ({"lr": 1e-3, "warmup": 1.0}, "warmup is 1.0"),
        ({"lr": 1e-3, "min_lr_ratio": 1.5}, "min_lr_ratio is 1.5"),
        ({"lr": 1e-3, "max_grad_norm": 0.0}, "max_grad_norm is 0.0"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, object], named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        AdamW(**settings)  # type: ignore[arg-type]
