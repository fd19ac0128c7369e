"""Results are summed up with what they rest on, and survive the disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from strop.errors import MismatchError
from strop.evals import ItemResult, Metric, SampleResult, SuiteResult
from suite_outcomes import ones, result, sample


def item(number: int, *values: float | None, kind: str = "a", **more: float) -> ItemResult:
    samples = tuple(sample(accuracy=value, **more) for value in values)
    return ItemResult(id=f"i{number}", slices={"kind": kind}, question="q", samples=samples)


ACCURACY = {"accuracy": Metric(direction="higher")}


@pytest.mark.capability("IM-10")
def test_every_number_comes_with_its_items_and_interval() -> None:
    rates = result(ones(42, 60), slices=["tool"] * 50 + ["refusal"] * 10).summary()
    assert set(rates) == {"accuracy", "accuracy[kind=tool]", "accuracy[kind=refusal]"}
    value, num_items, interval = rates["accuracy"]
    assert (value, num_items) == (0.7, 60)
    oracle = binomtest(42, 60).proportion_ci(method="wilson")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high))
    assert rates["accuracy[kind=refusal]"].value == 0.0


def test_items_to_which_a_metric_does_not_apply_are_in_no_rate() -> None:
    assert result([1.0, None, 0.0, None]).rate("accuracy")[:2] == (0.5, 2)
    assert result([None, None]).rate("accuracy") == (None, 0, None)


def test_several_samples_of_a_task_are_one_cluster_and_not_independent_trials() -> None:
    """20 tasks with 8 equal samples each know no more than 20 trials: Wilson of 160 would be far too narrow."""
    items = [item(n, *[float(n % 2)] * 8) for n in range(20)]
    value, num_items, interval = result(items=items, metrics=ACCURACY).rate("accuracy")
    assert (value, num_items) == (0.5, 20)
    assert interval is not None
    naive = binomtest(80, 160).proportion_ci(method="wilson")
    assert interval.high - interval.low > 2 * (naive.high - naive.low)
    assert items[0].value("accuracy") == 0.0


def test_tasks_whose_samples_all_passed_still_have_an_interval_with_a_width() -> None:
    value, num_items, interval = result(items=[item(n, *[1.0] * 4) for n in range(3)], metrics=ACCURACY).rate(
        "accuracy"
    )
    oracle = binomtest(3, 3).proportion_ci(method="wilson")
    assert (value, num_items) == (1.0, 3)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((oracle.low, 1.0))


def test_a_single_task_leaves_the_spread_unknown() -> None:
    assert result(items=[item(0, 1.0, 0.0)], metrics=ACCURACY).rate("accuracy") == (0.5, 1, None)


def test_a_weighted_metric_is_the_share_over_all_calls_and_not_the_mean_of_shares() -> None:
    """1 of 1 calls and 1 of 3 calls right: 2 of 4, where the mean of the shares would be 2/3."""
    metrics = {"tool_precision": Metric(direction="higher", weight="num_calls")}
    samples = [sample(tool_precision=1.0, num_calls=1.0), sample(tool_precision=1 / 3, num_calls=3.0)]
    samples.append(sample(tool_precision=None, num_calls=0.0))
    items = [ItemResult(id=str(n), slices={}, question="q", samples=(one,)) for n, one in enumerate(samples)]
    value, num_items, _ = result(items=items, metrics=metrics).rate("tool_precision")
    assert (value, num_items) == (pytest.approx(0.5), 2)


@pytest.mark.capability("EV-37")
@pytest.mark.capability("EV-38")
@pytest.mark.capability("EV-39")
@pytest.mark.capability("EV-40")
def test_runtime_measures_are_counted_over_all_answers() -> None:
    texts = ["<tool_call>{}</tool_call><tool_call>{}</tool_call>", "plain"]
    samples = [
        SampleResult(
            text=text,
            finish_reason=reason,
            state="graded",
            passed=True,
            score=1.0,
            reasons=(),
            measures={},
            num_prompt_tokens=10,
            num_tokens=tokens,
            latency_s=latency,
            cost=cost,
        )
        for text, reason, tokens, latency, cost in zip(
            texts, ("stop", "length"), (10, 20), (1.0, 3.0), (0.1, 0.3), strict=True
        )
    ]
    items = [ItemResult(id=str(n), slices={}, question="q", samples=(one,)) for n, one in enumerate(samples)]
    runtime = result(items=items, metrics=ACCURACY).runtime()
    assert runtime == {
        "latency_p50_s": 2.0,
        "latency_p95_s": pytest.approx(2.9),
        "mean_tokens": 15.0,
        "mean_calls": 1.0,
        "cost_per_request": pytest.approx(0.2),
        "truncated_share": 0.5,
        "ungraded_share": 0.0,
    }


def test_what_was_saved_loads_as_it_was(tmp_path: Path) -> None:
    outcome = result(items=[item(0, 1.0, None, kind="ä"), item(1, 0.0)], metrics=ACCURACY)
    path = outcome.save(tmp_path)
    assert path.name == "results_finance.json"
    again = SuiteResult.load(tmp_path, "finance")
    assert again == outcome
    assert again.digest == outcome.digest
    content = json.loads(path.read_text())
    assert content["digests"] == {"model": "m", "template": "t", "tools": "o", "verifier": "v", "suite": "s"}
    assert content["results"]["accuracy"]["num_items"] == 2
    lines = (tmp_path / "samples_finance.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["i0", "i1"]


def test_an_answer_with_any_of_unicodes_line_ends_loads_as_it_was(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\u2029four\x0bfive\r\nsix"
    outcome = result(items=[ItemResult(id="i", slices={}, question=text, samples=(sample(accuracy=1.0),))])
    outcome.save(tmp_path)
    assert SuiteResult.load(tmp_path, "finance") == outcome


def test_torn_or_edited_results_are_refused(tmp_path: Path) -> None:
    result(ones(3, 5)).save(tmp_path)
    samples = tmp_path / "samples_finance.jsonl"
    samples.write_text(samples.read_text().replace('"accuracy": 0.0', '"accuracy": 1.0'))
    with pytest.raises(MismatchError, match="not those that the results were computed from"):
        SuiteResult.load(tmp_path, "finance")
    samples.unlink()
    with pytest.raises(MismatchError, match="cannot use the results of finance"):
        SuiteResult.load(tmp_path, "finance")


def test_the_digest_is_of_the_outcome_and_not_of_the_clock() -> None:
    quick = result(items=[ItemResult(id="i", slices={}, question="q", samples=(sample(accuracy=1.0, latency_s=0.1),))])
    slow = result(items=[ItemResult(id="i", slices={}, question="q", samples=(sample(accuracy=1.0, latency_s=9.0),))])
    wrong = result(items=[ItemResult(id="i", slices={}, question="q", samples=(sample(accuracy=0.0),))])
    assert quick.digest == slow.digest
    assert quick.digest != wrong.digest


@pytest.mark.capability("EV-48")
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("surroundings", "index", "digest"), "1"),
        (("surroundings", "weights"), "as before"),
        (("metrics", "accuracy", "direction"), "lower"),
        (("digests", "template"), "t2"),
        (("params", "temperature"), 1.0),
        (("version",), "2"),
        (("name",), "other"),
        (("metrics",), []),
        (("digest",), "0" * 64),
    ],
)
def test_whatever_is_edited_in_the_results_is_noticed(tmp_path: Path, place: tuple[str, ...], value: object) -> None:
    around = {"weights": "w", "index": {"digest": "0"}, "ids": {9: (1,), 10: (2,)}}  # sorted otherwise once read back
    outcome = replace(result(ones(3, 5)), surroundings=around)
    path = outcome.save(tmp_path)
    assert SuiteResult.load(tmp_path, "finance").digest == outcome.digest
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="cannot use the results of finance"):
        SuiteResult.load(tmp_path, "finance")


def test_a_renamed_result_is_not_the_one_of_another_suite(tmp_path: Path) -> None:
    path = result(ones(3, 5)).save(tmp_path)
    path.rename(tmp_path / "results_law.json")
    (tmp_path / "samples_finance.jsonl").rename(tmp_path / "samples_law.jsonl")
    with pytest.raises(MismatchError, match="cannot use the results of law") as told:
        SuiteResult.load(tmp_path, "law")
    assert "suite finance" in str(told.value.why)


def test_results_of_an_older_format_say_so(tmp_path: Path) -> None:
    path = result(ones(3, 5)).save(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(MismatchError, match="format 2") as told:
        SuiteResult.load(tmp_path, "finance")
    assert "samples" not in str(told.value.why)


def test_which_items_are_one_piece_of_evidence_is_part_of_the_outcome() -> None:
    alone, together = (
        result(items=[replace(item(n, 1.0), cluster=cluster) for n, cluster in enumerate(clusters)], metrics=ACCURACY)
        for clusters in (("a", "b"), ("a", "a"))
    )
    assert alone.digest != together.digest
