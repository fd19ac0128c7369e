"""The drawing of tokens: distributions worked by hand, and randomness that belongs to the row."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling_reference import distribution
from strop.errors import RecipeError
from strop.sampling.draw import Settings, check_params, draw, draw_rows, keep_top_p, sampling_logprobs, uniforms
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


# ------------------------------------------------------------------------------------------- many settings in one batch

MANY = [
    SamplingParams(),
    SamplingParams(temperature=0),
    SamplingParams(temperature=0.6, top_k=7),
    SamplingParams(temperature=1.7, top_p=0.7),
    SamplingParams(min_p=0.05),
    SamplingParams(temperature=0, repetition_penalty=1.4),
    SamplingParams(temperature=1.3, top_k=30, top_p=0.9, min_p=0.01, repetition_penalty=0.8, logit_bias={3: 2.0}),
    SamplingParams(temperature=0.9, logit_bias={1: -torch.inf, 2: 5.0}),
]
SEEN = [4, 8, 8, 15, 16, 23, 42]


def rows_of(vocab_size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, uniforms, and the seen tokens of the rows of ``MANY`` with a penalty."""
    generator = torch.Generator().manual_seed(vocab_size)
    logits = 3 * torch.randn(len(MANY), vocab_size, generator=generator)
    seen = torch.zeros(vocab_size, dtype=torch.bool)
    seen[SEEN] = True
    return logits, uniforms(range(len(MANY)), 1)[:, 0], seen


@pytest.mark.parametrize("vocab_size", [60, 900, 5000])  # all in float64; exponentials in float32
def test_every_row_is_drawn_from_the_distribution_of_the_processors_of_transformers(vocab_size: int) -> None:
    logits, uniform, seen = rows_of(vocab_size)
    num_penalised = sum(params.repetition_penalty != 1 for params in MANY)
    drawn = draw_rows(logits, Settings(MANY), uniform, seen=seen.expand(num_penalised, -1))
    for i, params in enumerate(MANY):
        expected = distribution(logits[i], SEEN, params)
        token = int(drawn.tokens[i])
        assert drawn.logprobs[i].item() == pytest.approx(expected[token].item(), abs=2e-6)
        if params.temperature == 0:
            assert token == int(expected.argmax())
        else:
            edges = expected.exp().cumsum(0)
            low = edges[token - 1].item() if token else 0.0
            assert low - 1e-6 <= uniform[i].item() <= edges[token].item() + 1e-6


@pytest.mark.parametrize("vocab_size", [60, 900, 5000])
def test_a_row_is_drawn_as_if_it_were_alone(vocab_size: int) -> None:
    logits, uniform, seen = rows_of(vocab_size)
    num_penalised = sum(params.repetition_penalty != 1 for params in MANY)
    together = draw_rows(logits, Settings(MANY), uniform, seen=seen.expand(num_penalised, -1))
    for i, params in enumerate(MANY):
        mine = seen[None] if params.repetition_penalty != 1 else None
        alone = draw_rows(logits[i : i + 1], Settings([params]), uniform[i : i + 1], seen=mine)
        assert alone.tokens.item() == together.tokens[i].item()
        assert alone.logprobs.item() == pytest.approx(together.logprobs[i].item(), abs=1e-12)


def test_a_large_vocabulary_is_drawn_from_as_exactly_as_a_small_one() -> None:
    # The same distribution over 40 tokens, spread over 10,000 whose others are impossible.
    generator = torch.Generator().manual_seed(1)
    small = torch.randn(500, 40, generator=generator)
    places = torch.randperm(10_000, generator=generator)[:40].sort().values
    large = torch.full((500, 10_000), -torch.inf)
    large[:, places] = small
    uniform = uniforms([3], 500)[0]
    few, few_logprobs = draw(small, SamplingParams(), uniform)
    many, many_logprobs = draw(large, SamplingParams(), uniform)
    assert torch.equal(places[few], many)
    torch.testing.assert_close(few_logprobs, many_logprobs, atol=1e-6, rtol=0)
    assert uniform.min() < 0.01
    assert uniform.max() > 0.99


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
def test_top_p_without_sorting_the_vocabulary_keeps_the_same_tokens(top_p: float) -> None:
    generator = torch.Generator().manual_seed(0)
    flat = torch.zeros(1, 3000)  # all tokens tie: more are kept than are looked at first
    rounded = (torch.randn(3, 3000, generator=generator) * 2).round()  # ties across the edge
    sharp = torch.randn(3, 3000, generator=generator) * 4
    logprobs = torch.cat([flat, rounded, sharp]).double().log_softmax(-1)
    ordered, order = logprobs.sort(dim=-1, descending=True, stable=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    kept = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before < top_p)
    found = keep_top_p(logprobs, top_p).isfinite()
    # A sum of thousands may round to the other side of p: one token of a row at most.
    assert ((found != kept).sum(-1) <= 1).all()
    assert torch.equal(found[1:], kept[1:])


@pytest.mark.capability("CD-08")
def test_a_mask_leaves_the_rest_of_the_mass_and_says_how_much_that_was() -> None:
    # At temperature 1/2 the probabilities are squared: .25, .0025, .09, .0225, in sum .365; tokens 1 and 2 have .0925.
    allowed = torch.tensor([False, True, True, False])

    def forbid(part: torch.Tensor) -> torch.Tensor:
        return part.masked_fill(~allowed, -torch.inf)

    logits = LOGITS.expand(3, -1)
    params = [SamplingParams(temperature=0.5)] * 3
    uniform = torch.tensor([0.02, 0.9, 0.3], dtype=torch.float64)
    drawn = draw_rows(logits, Settings(params), uniform, mask=(torch.tensor([0, 1]), forbid))
    assert drawn.tokens.tolist() == [1, 2, 0]
    expected = [math.log(0.0025 / 0.0925), math.log(0.09 / 0.0925), math.log(0.25 / 0.365)]
    assert drawn.logprobs.tolist() == pytest.approx(expected, abs=1e-6)
    assert drawn.log_mass is not None
    assert drawn.log_mass.tolist() == pytest.approx([math.log(0.0925 / 0.365)] * 2 + [0.0], abs=1e-6)


def test_full_logprobs_are_those_of_the_untouched_model() -> None:
    params = SamplingParams(temperature=0.5, top_k=1, logit_bias={3: 9.0}, full_logprobs=True)
    drawn = draw_rows(LOGITS, Settings([params]), torch.tensor([0.5], dtype=torch.float64))
    assert drawn.tokens.tolist() == [3]
    assert drawn.full_logprobs is not None
    assert drawn.full_logprobs.item() == pytest.approx(math.log(0.15), abs=1e-6)
    assert drawn.logprobs.item() == 0
    plain = draw_rows(LOGITS, Settings([SamplingParams()]), torch.tensor([0.5], dtype=torch.float64))
    assert plain.full_logprobs is None
    assert plain.log_mass is None


@pytest.mark.parametrize("vocab_size", [60, 900, 5000])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_give_no_log_probability(vocab_size: int, bad: float, temperature: float) -> None:
    logits = torch.zeros(2, vocab_size)
    logits[1, 7] = bad
    drawn = draw_rows(logits, Settings([SamplingParams(temperature=temperature)] * 2), torch.zeros(2).double())
    assert drawn.logprobs.isnan().tolist() == [False, True]


def test_logits_are_left_as_they_were() -> None:
    logits, uniform, seen = rows_of(5000)
    before = logits.clone()
    draw_rows(logits, Settings(MANY), uniform, seen=seen.expand(2, -1))
    assert torch.equal(logits, before)
