"""Sampling parameters that name no distribution, contradict each other or have no effect."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from strop.errors import RecipeError
from strop.sampling.params import check_params, reshaping
from strop.types import Constraint, SamplingParams

CHOICE = Constraint(kind="choice", value=("a", "b"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"temperature": -0.1}, "temperature = -0.1"),
        ({"temperature": nan}, "temperature = nan"),
        ({"temperature": 1e-45}, "temperature = 1e-45"),
        ({"temperature": 1e300}, r"temperature = 1e\+300"),
        ({"temperature": "0.7"}, "temperature = '0.7'"),
        ({"max_new_tokens": 2.5}, "max_new_tokens = 2.5"),
        ({"max_new_tokens": None}, "max_new_tokens = None"),
        ({"top_k": 3.0}, "top_k = 3.0"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"top_p": 1.01}, "top_p = 1.01"),
        ({"top_k": -1}, "top_k = -1"),
        ({"min_p": 1.0}, "min_p = 1.0"),
        ({"min_p": -0.1}, "min_p = -0.1"),
        ({"min_p": nan}, "min_p = nan"),
        ({"repetition_penalty": 0.0}, "repetition_penalty = 0.0"),
        ({"repetition_penalty": 1e-45}, "repetition_penalty = 1e-45"),
        ({"repetition_penalty": inf}, "repetition_penalty = inf"),
        ({"repetition_penalty": nan}, "repetition_penalty = nan"),
        ({"deadline_s": 0.0}, "deadline_s = 0.0"),
        ({"deadline_s": nan}, "deadline_s = nan"),
        ({"stop": ("x", "")}, "empty stop text"),
        ({"stop": "END"}, "give a tuple"),
        ({"logit_bias": {-1: 1.0}}, "logit_bias for token -1"),
        ({"logit_bias": {100: 1.0}}, "from 0 to 99"),
        ({"logit_bias": {5: nan}}, r"logit_bias\[5\] = nan"),
        ({"logit_bias": {5: inf}}, r"logit_bias\[5\] = inf"),
        ({"logit_bias": {5: 1e300}}, r"logit_bias\[5\] = 1e\+300"),
        ({"logit_bias": {5: "1"}}, r"logit_bias\[5\] = '1'"),
        ({"logit_bias": {"5": 1.0}}, "the token '5'"),
        ({"logit_bias": dict.fromkeys(range(100), -inf)}, "-inf for every token"),
        ({"stop_token_ids": (3.0,)}, "the token 3.0"),
        ({"stop_token_ids": (3, 100)}, "stop token 100"),
        ({"stop_token_ids": (-1,)}, "stop token -1"),
        ({"temperature": 0.0, "top_p": 0.9}, "top_p = 0.9 at temperature 0"),
        ({"temperature": 0.0, "top_k": 5}, "top_k = 5 at temperature 0"),
        ({"temperature": 0.0, "min_p": 0.1}, "min_p = 0.1 at temperature 0"),
        ({"constraint": CHOICE, "stop": ("x",)}, "a constraint and further stops"),
        ({"constraint": CHOICE, "stop_token_ids": (1,)}, "a constraint and further stops"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_value_and_a_way_out(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as error:
        check_params(SamplingParams(**wrong), 100)
    assert error.value.do


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"temperature": 0.0, "repetition_penalty": 1.2, "logit_bias": {99: -inf, 0: 3}},
        {"top_p": 1e-9, "top_k": 1, "min_p": 0.999, "max_new_tokens": 1, "deadline_s": 1e-3},
        {"stop": ("END",), "stop_token_ids": (0, 99), "repetition_penalty": 0.5},
        {"constraint": CHOICE, "temperature": 0.0, "logit_bias": {98: -inf}},
        {"temperature": 1e-6, "repetition_penalty": 1e6, "logit_bias": {1: -1e20}},
        {"temperature": np.float32(0.5), "max_new_tokens": np.int64(3), "logit_bias": {np.int64(3): np.float32(1)}},
    ],
)
def test_what_makes_sense_passes(right: dict[str, Any]) -> None:
    check_params(SamplingParams(**right), 100, (98, 99))


def test_an_end_must_be_left_to_a_constrained_completion() -> None:
    banned = SamplingParams(constraint=CHOICE, logit_bias={98: -inf, 99: -inf})
    check_params(banned, 100)
    with pytest.raises(RecipeError, match="-inf for every stop token"):
        check_params(banned, 100, (98, 99))
    check_params(replace(banned, constraint=None), 100, (98, 99))


def test_without_a_vocabulary_ids_are_only_bounded_below() -> None:
    check_params(SamplingParams(stop_token_ids=(10**6,)))
    with pytest.raises(RecipeError, match="ids start at 0"):
        check_params(SamplingParams(stop_token_ids=(-1,)))


@pytest.mark.capability("AB-truncated-sampling-guard")
def test_settings_that_reshape_the_distribution_are_named() -> None:
    assert reshaping(SamplingParams(temperature=0.3, stop=("x",), max_new_tokens=3, full_logprobs=True)) == ()
    changed = SamplingParams(top_p=0.9, top_k=3, min_p=0.1, repetition_penalty=1.1, logit_bias={1: 2.0})
    told = ("top_p = 0.9", "top_k = 3", "min_p = 0.1", "repetition_penalty = 1.1", "logit_bias = {1: 2.0}")
    assert reshaping(changed) == told
    assert reshaping(SamplingParams(constraint=CHOICE))[0].startswith("constraint = ")
