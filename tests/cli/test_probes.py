"""``strop eval`` on the suites that probe one property."""

import re

import pytest

from strop.evals import SuiteResult
from strop.evals.probes import accuracy_drop


@pytest.mark.slow
@pytest.mark.capability("RS-06", "RS-07")
def test_a_probe_tells_more_than_its_metrics_and_its_results_say_the_same(strop) -> None:
    suites = ["--suite", "robustness:arithmetic", "--suite", "calibration:arithmetic"]
    asked = strop("eval", "strop:tiny", *suites, "--limit", 28, "--max-new-tokens", 48, "--output", "out")
    assert asked.code == 0, asked.err
    told = re.search(r"reworded: ([-+][\d.]+) \[[^]]*\] over (\d+) pairs", asked.out.replace("\n", " "))
    assert told is not None, asked.out
    found = accuracy_drop(SuiteResult.load("out", "robustness-arithmetic"))["reworded"]
    assert found is not None
    assert (float(told[1]), int(told[2])) == (pytest.approx(found.difference, abs=5e-4), found.num_pairs)
    assert found.difference < 0  # the base has met one wording only
    assert "confidence over 28: mean" in asked.out


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("boundaries:stack", "there is no boundaries:stack"),
        ("sycophancy:stack", "choose one of arithmetic, lookup, finance"),
        ("robustness:arithmetics", "did you mean 'arithmetic'?"),
        ("robustnes:arithmetic", "robustness:arithmetic"),
    ],
)
def test_a_probe_of_a_world_that_it_cannot_ask_is_refused(strop, suite: str, message: str) -> None:
    asked = strop("eval", "strop:tiny", "--suite", suite, "--limit", 4)
    assert asked.code == 2
    assert message in " ".join(asked.err.split())
