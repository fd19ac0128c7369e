"""The drawing of tokens: distributions worked by hand, and randomness that belongs to the row."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.errors import RecipeError
from strop.sampling.draw import check_params, draw, sampling_logprobs, uniforms
from strop.sampling.seeds import row_seed
from strop.types import SamplingParams

PROBABILITIES = torch.tensor([[0.5, 0.05, 0.3, 0.15]])
LOGITS = PROBABILITIES.log() + 7.0  # a constant does not matter


def probabilities(**settings: float) -> list[float]:
    params = SamplingParams(**settings)  # type: ignore[arg-type]
    return sampling_logprobs(LOGITS, params).exp()[0].tolist()


def test_temperature_raises_probabilities_to_its_inverse() -> None:
    squares = [0.25, 0.0025, 0.09, 0.0225]
    expected = [square / sum(squares) for square in squares]
    assert probabilities(temperature=0.5) == pytest.approx(expected, rel=1e-6)


def test_top_k_keeps_the_most_likely_and_renormalises() -> None:
    assert probabilities(top_k=2) == pytest.approx([0.625, 0, 0.375, 0], rel=1e-6)


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass() -> None:
    assert probabilities(top_p=0.5) == pytest.approx([1, 0, 0, 0], rel=1e-6)
    assert probabilities(top_p=0.51) == pytest.approx([0.625, 0, 0.375, 0], rel=1e-6)
    assert probabilities(top_p=0.9) == pytest.approx([0.5 / 0.95, 0, 0.3 / 0.95, 0.15 / 0.95], rel=1e-6)


def test_top_p_counts_the_mass_that_top_k_left() -> None:
    # After top_k = 2 the masses are 0.625 and 0.375, so the first alone reaches 0.6; of all four it would not.
    assert probabilities(top_k=2, top_p=0.6) == pytest.approx([1, 0, 0, 0], rel=1e-6)


def test_greedy_reports_the_full_distribution_at_temperature_one() -> None:
    tokens, logprobs = draw(LOGITS, SamplingParams(temperature=0, top_k=1), torch.tensor([0.99], dtype=torch.float64))
    assert tokens.tolist() == [0]
    assert logprobs.item() == pytest.approx(math.log(0.5), rel=1e-6)


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 0), (0.49, 0), (0.51, 1), (0.56, 2), (0.849, 2), (0.851, 3)])
def test_a_draw_inverts_the_cumulative_distribution_in_token_order(uniform: float, token: int) -> None:
    tokens, logprobs = draw(LOGITS, SamplingParams(), torch.tensor([uniform], dtype=torch.float64))
    assert tokens.tolist() == [token]
    assert logprobs.item() == pytest.approx(PROBABILITIES[0, token].log().item(), rel=1e-6)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_a_token_that_was_cut_is_never_drawn(uniform: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.1, 0.2, -torch.inf]])
    tokens, _ = draw(logits, SamplingParams(), torch.tensor([uniform], dtype=torch.float64))
    assert tokens.item() in (1, 2)


def test_frequencies_follow_the_distribution_that_is_reported() -> None:
    num_draws = 20_000
    params = SamplingParams(temperature=0.7, top_k=3)
    uniform = uniforms([5], num_draws)[0]
    tokens, _ = draw(LOGITS.expand(num_draws, -1), params, uniform)
    shares = torch.bincount(tokens, minlength=4) / num_draws
    expected = sampling_logprobs(LOGITS, params).exp()[0]
    # Four standard errors of a share of one half.
    assert (shares - expected).abs().max() < 4 * math.sqrt(0.25 / num_draws)


def test_a_row_of_uniforms_depends_on_its_seed_alone() -> None:
    together = uniforms([3, 8, 11], 5)
    assert torch.equal(uniforms([8], 5)[0], together[1])
    assert torch.equal(uniforms([8], 3)[0], together[1, :3])
    assert not torch.equal(together[0], together[1])


def test_uniforms_are_those_of_philox() -> None:
    expected = np.random.Generator(np.random.Philox(key=12345)).random(4)
    assert uniforms([12345], 4)[0].tolist() == expected.tolist()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=12),
    st.integers(0, 12),
    st.floats(0.01, 1),
    st.floats(0.1, 3),
    st.floats(0, 1, exclude_max=True),
)
def test_every_setting_draws_from_a_normalised_distribution(
    logits: list[float], top_k: int, top_p: float, temperature: float, uniform: float
) -> None:
    params = SamplingParams(top_k=top_k, top_p=top_p, temperature=temperature)
    row = torch.tensor([logits])
    every = sampling_logprobs(row, params)
    assert every.exp().sum().item() == pytest.approx(1, abs=1e-9)
    tokens, logprobs = draw(row, params, torch.tensor([uniform], dtype=torch.float64))
    assert every[0, tokens.item()].item() == logprobs.item() > -math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": math.inf},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"max_new_tokens": 0},
    ],
)
def test_settings_that_name_no_distribution_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        check_params(SamplingParams(**wrong))  # type: ignore[arg-type]


def test_row_seeds_follow_from_their_counters() -> None:
    seeds = {row_seed(a, b, c) for a in range(5) for b in range(10) for c in range(8)}
    assert len(seeds) == 400
    assert row_seed(1, 23) != row_seed(12, 3)
    assert all(0 <= seed < 2**63 for seed in seeds)
    # The first 16 digits of `printf 1,2,3 | sha256sum`, without the lowest bit.
    assert row_seed(1, 2, 3) == 0x8A6AE15122001229 >> 1
