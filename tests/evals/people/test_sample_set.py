"""What is asked: a fixed, stratified set of items, some twice, some to check attention."""

from collections import Counter
from dataclasses import replace

import pytest

from labelling import results, two
from strop.errors import MismatchError, RecipeError
from strop.evals.people import Pair, Plan, sample_set
from strop.evals.people.sample_set import ATTENTION_NOTE


def of_role(pairs: tuple[Pair, ...], role: str) -> list[Pair]:
    return [pair for pair in pairs if pair.role == role]


@pytest.mark.capability("EV-07")
def test_the_sample_set_is_fixed_by_the_seed_and_another_seed_draws_another() -> None:
    candidate, baseline = two(300)
    plan = Plan(num_pairs=100, seed=1)
    assert sample_set(candidate, baseline, plan) == sample_set(candidate, baseline, plan)
    shuffled = replace(candidate, items=candidate.items[::-1])
    same = {pair.item for pair in sample_set(shuffled, baseline, plan)}
    assert same == {pair.item for pair in sample_set(candidate, baseline, plan)}
    other = {pair.item for pair in sample_set(candidate, baseline, replace(plan, seed=2))}
    assert other != same


def test_every_slice_has_its_share_of_the_pairs() -> None:
    """60 refusals, 30 calls, 10 others of 100 items: of 20 pairs 12, 6 and 2 by hand."""
    kinds = ["refusal"] * 60 + ["call"] * 30 + ["other"] * 10
    candidate, baseline = two(100, slices=lambda i: {"kind": kinds[i]})
    for seed in range(5):
        pairs = of_role(sample_set(candidate, baseline, Plan(num_pairs=20, repeat=0, attention=0, seed=seed)), "pair")
        assert Counter(pair.slices["kind"] for pair in pairs) == {"refusal": 12, "call": 6, "other": 2}


def test_items_of_one_cluster_are_asked_once() -> None:
    candidate, baseline = two(40, clusters=lambda i: f"twins {i // 2}")
    pairs = of_role(sample_set(candidate, baseline, Plan(num_pairs=40, repeat=0, attention=0)), "pair")
    assert len({int(pair.item[1:]) // 2 for pair in pairs}) == len(pairs) == 20


def test_repeats_and_attention_checks_come_on_top_in_their_shares() -> None:
    candidate, baseline = two(80)
    pairs = sample_set(candidate, baseline, Plan(num_pairs=60, repeat=0.1, attention=0.05))
    assert Counter(pair.role for pair in pairs) == {"pair": 60, "repeat": 6, "attention": 3}
    for repeat in of_role(pairs, "repeat"):
        original = pairs[repeat.original or 0]
        assert (repeat.item, repeat.candidate, repeat.baseline) == (
            original.item,
            original.candidate,
            original.baseline,
        )
    asked = {pair.item for pair in of_role(pairs, "pair")}
    for check in of_role(pairs, "attention"):
        texts = {"candidate": check.candidate, "baseline": check.baseline}
        assert [side for side, text in texts.items() if ATTENTION_NOTE in text] == [check.expected]
        assert check.item not in asked, "there are items left over, so no pair is seen in two forms"


def test_identical_answers_are_shown_to_nobody_and_all_identical_is_refused() -> None:
    candidate, baseline = results("c", ["a", "b", "c"]), results("b", ["a ", "x", "y"])
    pairs = sample_set(candidate, baseline, Plan(num_pairs=3, repeat=0, attention=0))
    assert {pair.item: pair.role for pair in pairs} == {"i000": "identical", "i001": "pair", "i002": "pair"}
    with pytest.raises(MismatchError, match="same answer to all 3"):
        sample_set(candidate, replace(candidate, digests={**candidate.digests, "model": "b"}), Plan())


def test_results_that_cannot_be_compared_are_refused_with_the_item() -> None:
    candidate, baseline = two(4)
    with pytest.raises(MismatchError, match=r"1 items are on one side only.*i003"):
        sample_set(candidate, replace(baseline, items=baseline.items[:3]), Plan())
    with pytest.raises(MismatchError, match="suite people differs"):
        sample_set(candidate, replace(baseline, digests={**baseline.digests, "suite": "other"}), Plan())
    bare = replace(baseline, items=tuple(replace(item, prompt=()) for item in baseline.items))
    with pytest.raises(MismatchError, match="do not hold what was asked"):
        sample_set(candidate, bare, Plan())
    with pytest.raises(RecipeError, match=r"`repeat` is 0\.9"):
        Plan(repeat=0.9)


def test_seven_percent_of_a_hundred_pairs_are_seven_checks_and_a_little_more_is_one_more() -> None:
    for share, expected in ((0.07, 7), (0.071, 8), (0.001, 1), (0.0, 0)):
        pairs = sample_set(*two(100), Plan(num_pairs=100, repeat=0, attention=share))
        assert len(of_role(pairs, "attention")) == expected


def test_shares_that_are_no_whole_numbers_go_by_the_largest_remainders() -> None:
    """5 of 7 + 2 + 1 items: 3.5, 1 and 0.5; the fifth is of the first or the last kind."""
    kinds = ["a"] * 7 + ["b"] * 2 + ["c"]
    candidate, baseline = two(10, slices=lambda i: {"kind": kinds[i]})
    pairs = of_role(sample_set(candidate, baseline, Plan(num_pairs=5, repeat=0, attention=0)), "pair")
    counts = Counter(pair.slices["kind"] for pair in pairs)
    assert (counts["a"], counts["b"], counts["c"]) in {(4, 1, 0), (3, 1, 1)}
