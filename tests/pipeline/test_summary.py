"""The tables and transcripts that people read say what the results say."""

from dataclasses import replace

import pytest

from strop.evals import ItemResult, Metric, SampleResult, SuiteResult
from strop.pipeline.summary import console_table, short_name, suite_table, transcripts


def result(passed: str) -> SuiteResult:
    """One item a letter: ``1`` passed, ``0`` failed."""
    samples = [
        SampleResult(
            text=f"answer {letter}",
            finish_reason="stop",
            state="graded",
            passed=letter == "1",
            score=float(letter),
            reasons=(),
            measures={"accuracy": float(letter)},
            num_prompt_tokens=1,
            num_tokens=1,
            latency_s=0.1,
        )
        for letter in passed
    ]
    return SuiteResult(
        name="s",
        digests={"model": passed, "template": "t", "tools": "", "verifier": "v", "suite": "s"},
        params={"temperature": 0.0, "samples_per_task": 1},
        metrics={"accuracy": Metric(direction="higher")},
        items=tuple(ItemResult(id=str(i), slices={}, question="q", samples=(s,)) for i, s in enumerate(samples)),
    )


RESULTS = {"base": {"s": result("0010011111")}, "sft": {"s": result("1100011111")}}


def test_a_table_holds_rates_intervals_and_the_paired_change() -> None:
    table = suite_table("s", RESULTS, seed=0)
    (row,) = table.rows
    assert [cell.value for cell in row.cells] == [0.6, 0.7]
    assert row.change.value == pytest.approx(0.1)
    assert row.change.n == 10
    # Wilson, 95 %, of 7 of 10: centre 0.6445, half-width 0.2475
    assert (row.cells[1].low, row.cells[1].high) == pytest.approx((0.3968, 0.8922), abs=1e-4)
    assert console_table(table).row_count == 1


def test_one_model_alone_has_no_change() -> None:
    assert not suite_table("s", {"base": RESULTS["base"]}, seed=0).has_changes


def test_transcripts_show_what_improved_what_worsened_what_still_fails_and_what_always_passed() -> None:
    shown = transcripts("s", RESULTS, {}).samples
    assert [sample.title for sample in shown] == ["s · 0", "s · 2", "s · 3", "s · 5"]
    assert [transcript.verdict for transcript in shown[0].transcripts] == ["failed", "passed"]


def test_a_change_rests_on_clusters_and_not_on_rewordings_of_one_question() -> None:
    """Ten questions, asked once or five times in other words, know the same; five times narrower would be a lie."""
    widths = []
    for times in (1, 5):
        sides = {}
        for model, passed in (("base", "0010011110"), ("sft", "1100011111")):
            one = result("".join(letter * times for letter in passed))
            items = tuple(replace(item, cluster=f"c{n // times}") for n, item in enumerate(one.items))
            sides[model] = {"s": replace(one, items=items)}
        (row,) = suite_table("s", sides, seed=0).rows
        assert row.change is not None
        widths.append(row.change.high - row.change.low)
    assert widths[1] > 0.8 * widths[0]


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("strop:tiny", "strop:tiny"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("model", "model"),
        ("/home/somebody/runs/small/model/", "small/model"),
        ("/home/cache/stages/aeb9dc2f7a8187cd3e823e3adcabba52/model", "aeb9dc2f7a81…/model"),
        ("/model", "model"),
        (".", "."),
    ],
)
def test_a_long_name_of_a_model_is_shortened_for_tables(model: str, shown: str) -> None:
    assert short_name(model) == shown


def test_what_was_not_graded_is_told_by_model_where_there_are_several() -> None:
    def unjudged(passed: str, count: int) -> SuiteResult:
        one = result(passed)
        odd = tuple(replace(item, samples=(replace(item.samples[0], state="error", score=None),)) for item in one.items)
        return replace(one, items=odd[:count] + one.items[count:])

    alone = {"sft": {"s": unjudged("1111", 3)}}
    assert "not graded: 3" in (suite_table("s", alone, seed=0).note or "")
    both = {"base": {"s": unjudged("1111", 1)}, **alone}
    assert "not graded: base 1, sft 3" in (suite_table("s", both, seed=0).note or "")
