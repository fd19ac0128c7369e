"""Seeds become tables with spread, tests of difference and of equivalence, and a flag for what was measured again."""

from dataclasses import replace
from pathlib import Path

import pytest

from strop.errors import MismatchError
from strop.evals import evaluate, world_suite
from strop.evals.seeds import (
    SeedRun,
    compare_over_seeds,
    comparison_table,
    mean_and_std,
    read_verification,
    sampling_params,
    seed_run,
    seed_table,
    verify,
    write_verification,
)
from strop.models import Policy
from strop.report import to_markdown
from strop.sampling import TorchSampler
from strop.types import Constraint, SamplingParams
from strop.worlds import get_world
from tiny_models import make_model_folder

ARMS = {
    "gold": (12.1, 11.3, 12.7),
    "gibberish": (10.7, 12.5, 9.1),
    "wrong": (9.7, 9.9, 9.9),
    "none": (10.1, 7.3, 9.1),
}


def runs(values: tuple[float, ...]) -> list[SeedRun]:
    return [SeedRun(seed=seed, value=value, is_verified=True) for seed, value in enumerate(values)]


@pytest.mark.capability("PI-56")
def test_the_table_of_seeds_reproduces_the_golden_numbers() -> None:
    """Capability table A.1, rows 14 and 15, as they are printed there."""
    assert mean_and_std((-1.4, 0.4, 0.0, 1.0, 0.2), digits=2).startswith("0.04")
    assert mean_and_std((-1.4, 0.4, 0.0, 1.0, 0.2)).endswith("± 0.9")
    table = seed_table("arms", {name: runs(values) for name, values in ARMS.items()})
    printed = {row.label: row.cells[0] for row in table.rows}
    assert printed == {"gold": "12.0 ± 0.7", "gibberish": "10.8 ± 1.7", "wrong": "9.8 ± 0.1", "none": "8.8 ± 1.4"}
    assert table.seeds == (0, 1, 2)


def test_the_interval_of_the_mean_stands_beside_the_spread() -> None:
    """Three seeds: t = 4.3027, half width 4.3027 · 0.70238 / √3 = 1.7448 around 12.0333."""
    table = seed_table("arms", {"gold": runs(ARMS["gold"])}, digits=2)
    assert table.rows[0].cells[1] == "10.29 to 13.78"


@pytest.mark.capability("PI-57")
def test_an_interval_that_holds_zero_is_no_equivalence() -> None:
    """Differences by hand. gold - none: 2.0, 4.0, 3.6; mean 3.2, sd 1.0583, 95 % ± 4.3027 · 0.6110 = 2.629.

    gibberish - wrong: 1.0, 2.6, -0.8; mean 0.933, sd 1.7010, 95 % ± 4.2256: holds 0, and its 90 % interval
    (± 2.9200 · 0.98207 = 2.8676) reaches beyond 2.
    """
    gold = compare_over_seeds(runs(ARMS["gold"]), runs(ARMS["none"]), margin=2)
    assert gold.difference == pytest.approx(3.2)
    assert (gold.interval.low, gold.interval.high) == pytest.approx((0.571, 5.829), abs=1e-3)
    assert (gold.is_different, gold.is_equivalent, gold.verdict) == (True, False, "different")
    lost = compare_over_seeds(runs(ARMS["gibberish"]), runs(ARMS["wrong"]), margin=2)
    assert (lost.interval.low, lost.interval.high) == pytest.approx((-3.292, 5.159), abs=1e-3)
    assert (lost.is_different, lost.is_equivalent) == (False, False)
    assert lost.verdict.startswith("undecided")
    same = compare_over_seeds(runs((1.0, 1.1, 0.9)), runs((1.05, 1.0, 0.95)), margin=2)
    assert same.verdict == "equivalent within ±2"
    small = compare_over_seeds(runs((1.5, 1.51, 1.49)), runs((1.0, 1.02, 0.98)), margin=2)
    assert small.verdict == "different, by less than 2, which does not matter"
    table = comparison_table("arms", {n: runs(v) for n, v in ARMS.items()}, baseline="none", margin=2)
    assert len(table.rows) == 3
    assert "not shown" in to_markdown(table)


def test_two_arms_are_compared_on_the_same_seeds_only() -> None:
    with pytest.raises(MismatchError, match="different seeds"):
        compare_over_seeds(runs((1.0, 2.0)), [SeedRun(seed=5, value=1.0), SeedRun(seed=0, value=2.0)], margin=1)
    with pytest.raises(MismatchError, match="one seed twice"):
        seed_table("t", {"a": [SeedRun(seed=1, value=1.0), SeedRun(seed=1, value=2.0)]})


def test_sampling_parameters_come_back_from_a_result() -> None:
    import json
    from dataclasses import asdict

    params = SamplingParams(
        temperature=0.7,
        stop=("a",),
        stop_token_ids=(3,),
        logit_bias={5: -1.0},
        constraint=Constraint(kind="choice", value=["a", "b"]),
    )
    assert sampling_params({**json.loads(json.dumps(asdict(params))), "samples_per_task": 3}) == params


@pytest.mark.capability("PI-61")
def test_a_number_is_verified_only_by_measuring_it_again_from_the_checkpoint(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "model")
    suite = world_suite(get_world("arithmetic"), num_tasks=6, steps=1)
    policy = Policy.load(folder)
    params = SamplingParams(max_new_tokens=12, temperature=0.8, seed=3)
    result = evaluate(TorchSampler(policy), policy.template, suite, model_digest=policy.digest(), params=params)

    found = verify(result, folder, suite)
    assert found.is_verified
    assert seed_run(3, result, "accuracy", found).is_verified
    write_verification(tmp_path, found)
    assert read_verification(tmp_path, result) == found

    first = result.items[0]
    flattered = replace(first.samples[0], passed=True, score=1.0, measures={"accuracy": 1.0}, text="Answer: 1")
    claimed = replace(result, items=(replace(first, samples=(flattered,)), *result.items[1:]))
    assert read_verification(tmp_path, claimed) is None, "the verification is of another result"
    caught = verify(claimed, folder, suite)
    assert not caught.is_verified
    assert caught.differing == (first.id,)
    assert not seed_run(3, claimed, "accuracy", caught).is_verified
    table = seed_table("t", {"a": [seed_run(3, result, "accuracy", found), seed_run(4, claimed, "accuracy", caught)]})
    assert table.rows[0].cells[-1] == "NOT verified: seed 4"

    other = make_model_folder(tmp_path / "other", seed=1)
    with pytest.raises(MismatchError, match="is not the model of the result"):
        verify(result, other, suite)
    with pytest.raises(MismatchError, match="is not the one of the result"):
        verify(result, folder, world_suite(get_world("arithmetic"), num_tasks=5, steps=1))


def test_a_baseline_that_is_no_arm_is_refused() -> None:
    runs = [SeedRun(seed=seed, value=float(seed)) for seed in range(3)]
    with pytest.raises(MismatchError, match="there is no arm `before`"):
        comparison_table("t", {"after": runs}, baseline="before", margin=1.0)
