"""The policy gradient's axes: clip sides, ratios, aggregation, KL, and the named points of their product."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from random_batches import Descent, descend, random_rows, row
from strop.errors import RecipeError
from strop.objectives import ImportanceCorrection, PolicyGradient, grpo
from strop.objectives.surrogate import Bounds
from strop.types import Sample

seeds = st.integers(0, 2**32 - 1)
thorough = settings(max_examples=25, deadline=None, derandomize=True)
SURROGATE = ["clip", "dual_clip", "cispo", "reinforce"]
RATIO = ["token", "sequence", "sequence_sum", "none"]
AGGREGATE = ["token_mean", "sequence_mean", "sequence_sum", "constant"]
KL = [(None, "one"), ("k2", "one"), ("k3", "one"), ("k2", "ratio"), ("k3", "ratio")]
TIGHT = {
    "clip": {"clip_low": 0.05, "clip_high": 0.1},
    "dual_clip": {"clip_low": 0.05, "clip_high": 0.1, "dual_clip": 1.12},
    "cispo": {"clip_low": 0.15, "clip_high": 0.1},
    "reinforce": {},
}
"""Bounds within the drift of random rows, so that every one of them binds somewhere."""


def point(surrogate: Any, ratio: Any, aggregate: Any, kl: Any, kl_weight: Any, **more: Any) -> PolicyGradient:
    return PolicyGradient(
        surrogate=surrogate,
        ratio=ratio,
        aggregate=aggregate,
        constant_length=6 if aggregate == "constant" else None,
        kl=kl,
        beta=0.3 if kl else 0.0,
        kl_weight=kl_weight,
        **(TIGHT[surrogate] if ratio != "none" else {}),
        **more,
    )


def without(sample: Sample, *streams: str) -> Sample:
    return replace(sample, streams={key: s for key, s in sample.streams.items() if key not in streams})


def on_policy(rows: list[Sample]) -> list[Sample]:
    return [without(sample, "old_logprobs") for sample in rows]


# --------------------------------------------------------------------------------------------------------- hand numbers


def one_token(ratio: float, advantage: float, **settings_: Any) -> Descent:
    rows = [row([-1.0], old_logprobs=[-1.0 - math.log(ratio)], advantages=[advantage])]
    return descend(PolicyGradient(**settings_), rows)


@pytest.mark.capability("RL-04")
@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (1.5, 1.0, -1.2, 0.0),  # above the range with a good sample: enough
        (1.5, -1.0, 1.5, 1.5),  # above the range with a bad sample: push it back
        (0.5, 1.0, -0.5, -0.5),  # below the range with a good sample: pull it up
        (0.5, -1.0, 0.8, 0.0),  # below the range with a bad sample: enough
        (1.1, 1.0, -1.1, -1.1),
        (0.9, -1.0, 0.9, 0.9),
    ],
)
def test_the_clip_stops_the_gradient_on_its_two_sides_and_only_there(
    ratio: float, advantage: float, value: float, gradient: float
) -> None:
    result = one_token(ratio, advantage)
    assert result.value == pytest.approx(value, abs=1e-6)
    assert result.gradient[1].item() == pytest.approx(gradient, abs=1e-6)
    assert result.metrics["clip_fraction"] == float(gradient == 0.0)


@pytest.mark.capability("RL-15")
def test_the_two_clip_bounds_are_independent() -> None:
    assert one_token(1.25, 1.0, clip_high=0.28).gradient[1].item() == pytest.approx(-1.25)
    assert one_token(1.25, 1.0, clip_low=0.28).gradient[1].item() == 0.0
    assert one_token(0.75, -1.0, clip_low=0.28).gradient[1].item() == pytest.approx(0.75)
    assert one_token(0.75, -1.0, clip_high=0.28).gradient[1].item() == 0.0


def test_the_two_sides_of_the_clip_are_counted_apart() -> None:
    logs = [math.log(r) for r in (1.5, 1.5, 0.5, 1.0)]
    rows = [
        row([-1.0] * 4, name="good", old_logprobs=[-1.0 - log for log in logs], advantages=1.0),
        row([-1.0] * 4, name="bad", old_logprobs=[-1.0 - log for log in logs], advantages=-1.0),
    ]
    metrics = descend(grpo(), rows).metrics
    assert metrics["clip_fraction_high"] == pytest.approx(2 / 8)
    assert metrics["clip_fraction_low"] == pytest.approx(1 / 8)
    assert metrics["clip_fraction"] == pytest.approx(3 / 8)
    assert metrics["ratio"] == pytest.approx((1.5 + 1.5 + 0.5 + 1.0) / 4)
    assert metrics["approx_kl"] == pytest.approx(sum(math.exp(x) - 1 - x for x in logs) / 4)


@pytest.mark.capability("RL-17")
def test_with_the_token_mean_a_token_weighs_the_same_in_a_long_and_in_a_short_answer() -> None:
    rows = [row([-1.0] * 9, name="long", advantages=1.0), row([-1.0], name="short", advantages=1.0)]
    by_token = descend(PolicyGradient(aggregate="token_mean"), rows).gradients
    assert by_token["long"][1:].tolist() == pytest.approx([-0.1] * 9)
    assert by_token["short"][1:].tolist() == pytest.approx([-0.1])
    by_sequence = descend(PolicyGradient(aggregate="sequence_mean"), rows).gradients
    assert by_sequence["long"][1:].tolist() == pytest.approx([-0.5 / 9] * 9)
    assert by_sequence["short"][1:].tolist() == pytest.approx([-0.5])


@pytest.mark.capability("RL-14")
def test_the_sequence_ratio_is_the_geometric_mean_and_clips_the_whole_sequence() -> None:
    rows = [row([-1.0, -1.0], old_logprobs=[-1.0 - math.log(4.0), -1.0], advantages=1.0)]
    inside = descend(PolicyGradient(ratio="sequence", clip_high=1.5), rows)
    assert inside.value == pytest.approx(-2.0)  # sqrt(4 · 1)
    assert inside.gradient.tolist() == pytest.approx([0.0, -1.0, -1.0])  # -s A / |y| for every token
    outside = descend(PolicyGradient(ratio="sequence", clip_high=0.5), rows)
    assert outside.value == pytest.approx(-1.5)
    assert not outside.gradient.any()


@pytest.mark.parametrize(
    ("kl", "value", "slope"), [("k2", 0.5 * 0.49, 0.7), ("k3", math.exp(-0.7) - 0.3, 1 - math.exp(-0.7))]
)
def test_the_kl_term_adds_its_estimate_and_pulls_toward_the_reference(kl: Any, value: float, slope: float) -> None:
    rows = [row([-1.0], ref_logprobs=[-1.7], advantages=[0.0])]
    result = descend(PolicyGradient(kl=kl, beta=0.5), rows)
    assert result.value == pytest.approx(0.5 * value, abs=1e-6)
    assert result.gradient[1].item() == pytest.approx(0.5 * slope, abs=1e-6)
    assert result.metrics["ref_kl"] == pytest.approx(value, abs=1e-6)


def test_the_mean_entropy_is_reported_when_the_outputs_hold_it() -> None:
    rows = [row([-1.0, -1.0], advantages=1.0, entropy=[0.5, 1.5])]
    assert descend(grpo(), rows).metrics["entropy"] == pytest.approx(1.0)
    assert "entropy" not in descend(grpo(), [without(rows[0], "entropy")]).metrics


# --------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("log_ratio", [1e4, -1e4])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_huge_ratios_stay_finite(log_ratio: float, advantage: float, ratio: Any) -> None:
    rows = [row([-1.0], old_logprobs=[-1.0 - log_ratio], ref_logprobs=[-1.0 - log_ratio], advantages=[advantage])]
    result = descend(PolicyGradient(ratio=ratio, kl="k3", beta=0.1), rows)
    assert math.isfinite(result.value)
    assert result.gradient.isfinite().all()


LMAX = 'give constant_length (the maximum completion length of the run) with aggregate="constant" and only there'
READS = "leave it out, or choose a surrogate that reads it"
NOTHING = "leave it out, or choose a ratio: without one there is nothing to clip"


@pytest.mark.parametrize(
    ("settings_", "what", "do"),
    [
        ({"surrogate": "ppo"}, "surrogate is", "choose one of 'clip', 'dual_clip', 'cispo', 'reinforce'"),
        ({"ratio": "seq"}, "ratio is", "choose one of 'token', 'sequence', 'sequence_sum', 'none'"),
        ({"aggregate": "sum"}, "aggregate is", None),
        ({"kl": "k1", "beta": 0.1}, "kl is", "choose one of None, 'k2', 'k3'"),
        ({"kl": "k3", "beta": 0.1, "kl_weight": "two"}, "kl_weight is", "choose one of 'one', 'ratio'"),
        ({"aggregate": "constant"}, "aggregate=", LMAX),
        ({"constant_length": 8}, "aggregate=", LMAX),
        ({"aggregate": "constant", "constant_length": 0}, "constant_length is 0", "use the run's L_max"),
        ({"aggregate": "constant", "constant_length": nan}, "constant_length is nan", "use the run's L_max"),
        ({"aggregate": "constant", "constant_length": inf}, "constant_length is inf", "use the run's L_max"),
        ({"kl": "k3"}, "kl='k3' with", "give both or neither"),
        ({"beta": 0.1}, "kl=None with", "give both or neither"),
        ({"kl": "k3", "beta": -0.1}, "beta is -0.1", "a negative one rewards drift; use 0 or more"),
        ({"kl": "k3", "beta": nan}, "beta is nan", None),
        ({"kl": "k3", "beta": inf}, "beta is inf", None),
        ({"kl_weight": "ratio"}, "kl_weight without kl", "give kl and beta too"),
        ({"entropy_weight": -0.1}, "entropy_weight is -0.1", "use 0 or a little more"),
        ({"entropy_weight": nan}, "entropy_weight is nan", None),
        ({"entropy_weight": inf}, "entropy_weight is inf", None),
        ({"expert_gamma": 0.0}, "expert_gamma is 0.0", "use 0.1, or None without expert tokens"),
        ({"expert_gamma": nan}, "expert_gamma is nan", None),
        ({"expert_gamma": inf}, "expert_gamma is inf", None),
        ({"temperature": 0.0}, "temperature is 0.0", "sample above 0: greedy samples have no gradient"),
        ({"temperature": nan}, "temperature is nan", None),
        ({"temperature": inf}, "temperature is inf", None),
        ({"clip_low": 0.0}, "clip_low is 0.0", "use 0 < clip_low <= 1"),
        ({"clip_low": 1.01}, "clip_low is 1.01", None),
        ({"clip_low": nan}, "clip_low is nan", None),
        ({"clip_high": 0.0}, "clip_high is 0.0", "use clip_high > 0"),
        ({"clip_high": nan}, "clip_high is nan", None),
        ({"surrogate": "dual_clip", "dual_clip": 1.0}, "dual_clip is 1.0", "use a c above 1, such as 3"),
        ({"surrogate": "dual_clip", "dual_clip": nan}, "dual_clip is nan", None),
        ({"surrogate": "dual_clip", "dual_clip": inf}, "dual_clip is inf", None),
        ({"dual_clip": 3.0}, "dual_clip=3.0 has no effect with surrogate='clip'", READS),
        ({"surrogate": "cispo", "dual_clip": 3.0}, "dual_clip=3.0 has no effect", READS),
        ({"surrogate": "reinforce", "clip_low": 0.2}, "clip_low=0.2 has no effect", READS),
        ({"surrogate": "reinforce", "clip_high": 0.2}, "clip_high=0.2 has no effect", READS),
        ({"ratio": "none", "clip_low": 0.2}, 'clip_low=0.2 has no effect with ratio="none"', NOTHING),
        ({"ratio": "none", "clip_high": 0.2}, 'clip_high=0.2 has no effect with ratio="none"', NOTHING),
    ],
)
def test_settings_that_contradict_each_other_or_do_nothing_are_refused(
    settings_: dict[str, Any], what: str, do: str | None
) -> None:
    with pytest.raises(RecipeError) as found:
        PolicyGradient(**settings_)
    assert found.value.what.startswith(f"policy gradient: {what}")
    if what == "kl_weight without kl":
        assert found.value.what == f"policy gradient: {what}"
    assert do is None or found.value.do == do


@pytest.mark.parametrize(
    "settings_",
    [
        {"clip_low": 1.0, "clip_high": inf},
        {"aggregate": "constant", "constant_length": 1},
        {"kl": "k2", "beta": 1e-9, "kl_weight": "ratio"},
        {"surrogate": "dual_clip", "dual_clip": 1.01},
        {"surrogate": "cispo", "clip_low": 0.5, "clip_high": 0.2},
        {"expert_gamma": 1e-9, "entropy_weight": 0.0, "temperature": 1e-9},
    ],
)
def test_settings_at_the_edge_of_what_makes_sense_are_taken_as_they_are(settings_: dict[str, Any]) -> None:
    objective = PolicyGradient(**settings_)
    assert {name: getattr(objective, name) for name in settings_} == settings_


def test_the_default_is_the_clip_of_token_ratios_by_a_fifth_over_sequence_means() -> None:
    objective = PolicyGradient()
    assert (objective.surrogate, objective.ratio, objective.aggregate) == ("clip", "token", "sequence_mean")
    assert objective.bounds == Bounds(clip_low=0.2, clip_high=0.2)
    assert objective == PolicyGradient(
        kl=None,
        beta=0.0,
        kl_weight="one",
        entropy_weight=0.0,
        correction=None,
        expert_gamma=None,
        temperature=1.0,
        constant_length=None,
    )
    assert objective.needs == {"logprobs", "entropy"}


# ------------------------------------------------------------------------------------------------------------ relations


@pytest.mark.capability("AB-tool-tokens-masked", "AB-detached-advantages")
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=seeds, surrogate=st.sampled_from(SURROGATE), ratio=st.sampled_from(RATIO))
def test_a_tools_tokens_have_no_gradient_and_change_nothing_whatever_they_hold(
    seed: int, surrogate: Any, ratio: Any
) -> None:
    rows = random_rows(seed)
    objective = point(
        surrogate, ratio, "sequence_mean", "k3", "ratio", correction=ImportanceCorrection(), entropy_weight=0.1
    )
    other = [
        replace(
            sample,
            streams={
                key: tuple(x if trained else 1.5 for x, trained in zip(stream, sample.loss_mask, strict=True))
                for key, stream in sample.streams.items()
                if key in STREAMS
            },
        )
        for sample in rows
    ]
    plain, changed = descend(objective, rows), descend(objective, other)  # asserts that streams get no gradient
    assert plain.value == pytest.approx(changed.value, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(plain.gradient, changed.gradient)
    for sample in rows:
        assert not plain.gradients[sample.name][~torch.tensor(sample.loss_mask)].any()


STREAMS = {"logprobs", "entropy", "advantages", "old_logprobs", "ref_logprobs", "sampler_logprobs"}


@pytest.mark.parametrize("aggregate", AGGREGATE)
def test_the_entropy_bonus_pushes_the_entropy_up_by_what_a_token_weighs(aggregate: Any) -> None:
    rows = [row([-1.0] * 3, name="a", entropy=1.5, advantages=0.0), row([-1.0], name="b", entropy=0.5, advantages=0.0)]
    length = 10 if aggregate == "constant" else None
    result = descend(PolicyGradient(entropy_weight=0.2, aggregate=aggregate, constant_length=length), rows)
    a, b = {
        "token_mean": (1 / 4, 1 / 4),
        "sequence_mean": (1 / 6, 1 / 2),
        "sequence_sum": (1 / 2, 1 / 2),
        "constant": (1 / 20, 1 / 20),
    }[aggregate]
    assert result.value == pytest.approx(-0.2 * (3 * 1.5 * a + 0.5 * b))
    assert result.gradient_of("entropy").tolist() == pytest.approx([0, -0.2 * a, -0.2 * a, -0.2 * a, 0, -0.2 * b])
    assert not result.gradient.any()


def test_without_its_weight_the_entropy_is_only_measured() -> None:
    rows = [row([-1.0], entropy=1.5, advantages=1.0)]
    assert not descend(PolicyGradient(), rows).gradient_of("entropy").any()
    with pytest.raises(AssertionError, match="entropy"):
        descend(PolicyGradient(entropy_weight=0.1), [without(rows[0], "entropy")])


@pytest.mark.parametrize(("surrogate", "names"), [("dual_clip", ["low", "high", "dual"]), ("cispo", ["low", "high"])])
def test_the_sides_of_the_other_surrogates_are_counted_too(surrogate: Any, names: list[str]) -> None:
    logs = [math.log(r) for r in (1.5, 4.0, 6.0, 0.5, 1.0)]
    rows = [row([-1.0] * 5, old_logprobs=[-1.0 - log for log in logs], advantages=-1.0)]
    metrics = descend(PolicyGradient(surrogate=surrogate), rows).metrics
    expected = {"dual_clip": [1, 0, 2], "cispo": [0, 1]}[surrogate]
    assert [metrics[f"clip_fraction_{name}"] for name in names] == pytest.approx([count / 5 for count in expected])
    assert metrics["clip_fraction"] == pytest.approx(sum(expected) / 5)
    assert not any("clip" in name for name in descend(PolicyGradient(surrogate="reinforce"), rows).metrics)


@pytest.mark.parametrize("kl_weight", ["one", "ratio"])
def test_the_kl_weight_multiplies_the_penalty_by_the_ratio_and_moves_with_it(kl_weight: Any) -> None:
    rho, d = 1.5, 0.7
    rows = [row([-1.0], old_logprobs=[-1.0 - math.log(rho)], ref_logprobs=[-1.0 - d], advantages=[0.0])]
    result = descend(PolicyGradient(kl="k3", beta=0.5, kl_weight=kl_weight), rows)
    k3 = math.exp(-d) - 1 + d
    weight, slope = (rho, rho * d) if kl_weight == "ratio" else (1.0, 1 - math.exp(-d))
    assert result.value == pytest.approx(0.5 * weight * k3, abs=1e-6)
    assert result.metrics["ref_kl"] == pytest.approx(weight * k3, abs=1e-6)
    assert result.gradient[1].item() == pytest.approx(0.5 * slope, abs=1e-6)


def test_the_temperature_of_the_sampling_is_what_the_log_probabilities_are_asked_at() -> None:
    assert PolicyGradient(temperature=0.7).temperature == 0.7


@pytest.mark.capability("AB-ratio-1-on-first-step")
@thorough
@given(seed=seeds)
def test_the_first_step_of_grpo_has_the_gradient_of_reinforce(seed: int) -> None:
    rows = on_policy(random_rows(seed))
    reinforce = PolicyGradient(surrogate="reinforce", ratio="none", aggregate="sequence_mean")
    torch.testing.assert_close(descend(grpo(), rows).gradient, descend(reinforce, rows).gradient)


@pytest.mark.capability("AB-ratio-1-on-first-step")
@thorough
@given(seed=seeds)
def test_a_stated_equal_old_policy_is_the_same_as_none(seed: int) -> None:
    rows = random_rows(seed)
    equal = [replace(s, streams={**s.streams, "old_logprobs": s.streams["logprobs"]}) for s in rows]
    one, other = descend(grpo(), on_policy(rows)), descend(grpo(), equal)
    assert one.value == pytest.approx(other.value)
    torch.testing.assert_close(one.gradient, other.gradient)
    assert other.metrics["ratio"] == pytest.approx(1.0)
    assert other.metrics["approx_kl"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.capability("RL-20")
@pytest.mark.parametrize(("surrogate", "ratio"), list(itertools.product(SURROGATE, RATIO)))
def test_every_combination_of_the_axes_equals_a_loop_over_the_tokens(surrogate: Any, ratio: Any) -> None:
    rows = random_rows(11, num_groups=4)
    for aggregate, (kl, kl_weight) in itertools.product(AGGREGATE, KL):
        objective = point(surrogate, ratio, aggregate, kl, kl_weight)
        result = descend(objective, rows)
        assert result.value == pytest.approx(slow_value(rows, objective), rel=1e-5, abs=1e-6)
        assert result.gradient.any()


@pytest.mark.capability("RL-20")
@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
@pytest.mark.parametrize("outside", ["truncate", "mask"])
def test_every_combination_with_what_may_be_added_equals_a_loop_over_the_tokens(level: Any, outside: Any) -> None:
    rows = random_rows(12, num_groups=4)
    correction = ImportanceCorrection(level=level, outside=outside, low=0.6, high=1.3)
    for surrogate, ratio, gamma in itertools.product(SURROGATE, RATIO, (None, 0.1)):
        objective = point(
            surrogate, ratio, "token_mean", "k3", "ratio", correction=correction, expert_gamma=gamma, entropy_weight=0.2
        )
        assert descend(objective, rows).value == pytest.approx(slow_value(rows, objective), rel=1e-5, abs=1e-6)


@pytest.mark.capability("RL-20")
def test_no_two_combinations_of_the_axes_are_the_same_objective() -> None:
    rows = random_rows(1, num_groups=9)
    gradients = {}
    for surrogate, ratio, aggregate, kl in itertools.product(SURROGATE, RATIO, AGGREGATE, KL):
        if ratio == "none" and surrogate != "reinforce":
            continue  # without a ratio there is nothing to bound: the gradient is that of reinforce, by design
        gradient = descend(point(surrogate, ratio, aggregate, *kl), rows).gradient
        gradients[surrogate, ratio, aggregate, kl] = tuple(gradient.tolist())
    assert len(set(gradients.values())) == len(gradients) == 13 * 4 * 5


def slow_value(rows: list[Sample], objective: PolicyGradient) -> float:
    """The papers' formulas with lists and loops, in plain Python floats."""
    sequence_losses = [slow_losses(sample, objective) for sample in rows]
    total = sum(sum(losses) for losses in sequence_losses)
    return {
        "token_mean": total / sum(len(losses) for losses in sequence_losses),
        "sequence_mean": sum(sum(losses) / len(losses) for losses in sequence_losses) / len(rows),
        "sequence_sum": total / len(rows),
        "constant": total / (len(rows) * 6),
    }[objective.aggregate]


def slow_losses(sample: Sample, o: PolicyGradient) -> list[float]:
    trained = [t for t, is_trained in enumerate(sample.loss_mask) if is_trained]
    p, q, mu, ref, advantages, entropy, expert = (
        [sample.streams[key][t] for t in trained]
        for key in (
            "logprobs",
            "old_logprobs",
            "sampler_logprobs",
            "ref_logprobs",
            "advantages",
            "entropy",
            "is_expert",
        )
    )
    own = [t for t in range(len(trained)) if o.expert_gamma is None or not expert[t]]
    rhos = slow_ratios([p[t] - q[t] for t in own], o.ratio)
    weights = [1.0] * len(own)
    if o.correction is not None:
        level = {"token": "token", "sequence": "sequence_sum", "geometric": "sequence"}[o.correction.level]
        weights = slow_ratios([q[t] - mu[t] for t in own], level)
        low, high = o.correction.low, o.correction.high
        if o.correction.outside == "truncate":
            weights = [min(max(w, low), high) for w in weights]
        else:
            weights = [w if low <= w <= high else 0.0 for w in weights]
    losses = []
    for t, a in enumerate(advantages):
        rho = 1.0
        if t in own:
            rho = rhos[own.index(t)]
            loss = weights[own.index(t)] * slow_surrogate(o.surrogate, rho, a, p[t])
        else:
            assert o.expert_gamma is not None
            loss = -a * math.exp(p[t]) / (math.exp(p[t]) + o.expert_gamma)
        if o.kl is not None:
            d = p[t] - ref[t]
            weight = rho if o.kl_weight == "ratio" else 1.0
            loss += o.beta * weight * {"k2": d**2 / 2, "k3": math.exp(-d) - 1 + d}[o.kl]
        losses.append(loss - o.entropy_weight * entropy[t])
    return losses


def slow_ratios(logs: list[float], ratio: str) -> list[float]:
    if not logs or ratio in ("token", "none"):
        return [math.exp(x) if ratio == "token" else 1.0 for x in logs]
    return [math.exp(sum(logs) / (len(logs) if ratio == "sequence" else 1))] * len(logs)


def slow_surrogate(surrogate: str, rho: float, a: float, logprob: float) -> float:
    low, high = TIGHT[surrogate].get("clip_low", 0.0), TIGHT[surrogate].get("clip_high", 0.0)
    bounded = min(max(rho, 1 - low), 1 + high)
    clip = -min(rho * a, bounded * a)
    return {
        "clip": clip,
        "dual_clip": min(clip, -1.12 * a) if a < 0 else clip,
        "cispo": -bounded * a * logprob,
        "reinforce": -rho * a * logprob,
    }[surrogate]
