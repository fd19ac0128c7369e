"""Judges that are fair, that see places or lengths, that drift, lie or fail: what each may say of a candidate."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from scripted_judge import ScriptedSampler, judge_model, material_of, nonce_of
from strop.errors import MismatchError, RemoteError
from strop.evals import GateConfig, ItemResult, Metric, SampleResult, SuiteResult, gate
from strop.evals.gating.evidence import BlockingTest
from strop.evals.gating.evidence_files import read_evidence
from strop.evals.judging import (
    JudgedItem,
    JudgeEvidence,
    JudgeResult,
    judge_suite,
    pair_anchors,
    read_anchors,
    write_judge_evidence,
)
from strop.evals.judging.kept import Kept
from strop.types import Completion, Message, SamplingParams, Task
from strop.verifiers.anchors import Anchor, measure_anchors
from strop.verifiers.judge import PairwiseJudge

GOOD, BAD = "good, and said at some length", "bad"


def fair(first: str, second: str) -> str:
    """Sees nothing but whether an answer says good."""
    return "TIE" if ("good" in first) == ("good" in second) else "FIRST" if "good" in first else "SECOND"


def liar(first: str, second: str) -> str:
    return {"FIRST": "SECOND", "SECOND": "FIRST", "TIE": "TIE"}[fair(first, second)]


def first_of_all(first: str, second: str) -> str:
    return "FIRST"


def longer(first: str, second: str) -> str:
    return "FIRST" if len(first) > len(second) else "SECOND" if len(second) > len(first) else "TIE"


@dataclass
class Mind:
    """What stands behind the judge's name; it may be changed without its digest saying so."""

    says: Callable[[str, str], str]

    def __call__(self, prompt: str) -> str:
        material = material_of(prompt)
        return f"VERDICT {nonce_of(prompt)}: {self.says(material['FIRST'], material['SECOND'])}"


def judge_of(says: Callable[[str, str], str] | Mind) -> PairwiseJudge:
    mind = says if isinstance(says, Mind) else Mind(says)
    return PairwiseJudge(judge=judge_model(mind), criterion="it is good")


def results(texts: Sequence[str], *, model: str = "m", finish: str = "stop", **more: Any) -> SuiteResult:
    """An item a text; accuracy is 1 for all."""
    items = tuple(
        ItemResult(
            id=f"i{number:03}",
            slices={"kind": "even" if number % 2 == 0 else "odd"},
            question=f"question {number}",
            prompt=(Message(role="user", content=f"question {number}"),),
            samples=(
                SampleResult(
                    text=text,
                    finish_reason=finish,
                    state="graded",
                    passed=True,
                    score=1.0,
                    reasons=(),
                    measures={"accuracy": 1.0},
                    num_prompt_tokens=1,
                    num_tokens=1,
                    latency_s=0.1,
                ),
            ),
        )
        for number, text in enumerate(texts)
    )
    settings: dict[str, Any] = {"metrics": {"accuracy": Metric(direction="higher")}, **more}
    digests = {"model": model, "template": "t", "tokenizer": "k", "tools": "o", "verifier": "v", "suite": "s"}
    return SuiteResult(name="finance", digests=digests, params={"temperature": 0.0}, items=items, **settings)


def anchor(number: int, text: str, other: str, label: bool) -> Anchor:
    task = Task(
        id=f"a{number}",
        prompt=(Message(role="user", content=f"anchor {number}"),),
        reference={"answer": other},
    )
    return Anchor(task=task, text=text, label=label)


ANCHORS = tuple(
    anchor(
        n, *((f"good {n}", f"bad {n}, with many words") if n % 2 else (f"bad {n}, with many", f"good {n}")), n % 2 == 1
    )
    for n in range(40)
)
"""People find the good answer better; it is the shorter one."""


def judged(candidate: Sequence[str], baseline: Sequence[str], says: Any, **more: Any) -> JudgeResult:
    mine, other = results(candidate, model="new"), results(baseline, model="old")
    return judge_suite(mine, other, judge_of(says), **{"anchors": ANCHORS, **more})


def outcomes(result: JudgeResult) -> list[str]:
    return [check.outcome for check in JudgeEvidence(result=result).findings() if not isinstance(check, BlockingTest)]


def the_test(result: JudgeResult) -> BlockingTest:
    (found,) = [one for one in JudgeEvidence(result=result).findings() if isinstance(one, BlockingTest)]
    return found


# --------------------------------------------------------------------------------------------------------- a fair judge


@pytest.mark.capability("EV-58")
def test_wins_ties_and_losses_are_counted_per_item_in_both_orders_with_their_interval() -> None:
    """By hand: 12 wins, 6 losses, 2 ties of 20: (12 + 1) / 20 = 0.65, and Wilson's interval of 13 of 20."""
    candidate = [GOOD] * 12 + [BAD] * 6 + [GOOD + "!", BAD]
    baseline = [BAD] * 12 + [GOOD] * 6 + [GOOD, BAD]
    result = judged(candidate, baseline, fair)
    rate = result.win_rate()
    assert (rate.wins, rate.losses, rate.ties, rate.undecided, rate.ungraded) == (12, 6, 2, 0, 0)
    assert rate.value == pytest.approx(0.65)
    z2 = 1.959964**2
    half = 1.959964 * (20 * 0.65 * 0.35 + z2 / 4) ** 0.5
    assert rate.interval is not None
    assert rate.interval.low == pytest.approx((13 + z2 / 2 - half) / (20 + z2), abs=1e-6)
    assert rate.interval.high == pytest.approx((13 + z2 / 2 + half) / (20 + z2), abs=1e-6)
    assert result.win_rate("kind=even").num_judged == 10
    assert result.slice_names() == ["kind=even", "kind=odd"]
    assert result.items[0].said == ("FIRST", "SECOND")
    assert (result.items[19].said, result.items[19].reason) == ((), "the answers are the same")


@pytest.mark.capability("EV-58")
def test_a_judge_without_position_bias_shows_none_and_one_that_sees_places_only_decides_nothing() -> None:
    candidate, baseline = [GOOD] * 10 + [BAD] * 30, [BAD] * 10 + [GOOD] * 30
    honest = judged(candidate, baseline, fair).position_bias
    assert honest is not None
    assert (honest.num_compared, honest.inconsistent_rate, honest.first_rate) == (40, 0.0, 0.5)
    biased = judged(candidate, baseline, first_of_all)
    bias = biased.position_bias
    assert bias is not None
    assert (bias.inconsistent_rate, bias.first_rate) == (1.0, 1.0)
    assert biased.win_rate().undecided == 40
    evidence = JudgeEvidence(result=biased)
    assert outcomes(biased) == ["INSUFFICIENT"]
    assert "the two orders contradict each other in 100% of 40 comparisons" in evidence.findings()[0].reason  # type: ignore[union-attr]


@pytest.mark.capability("EV-58")
def test_a_healthy_judge_that_prefers_the_baseline_is_a_test_that_blocks_and_one_that_does_not_is_none() -> None:
    """30 losses and 10 wins: P[X >= 30], X ~ Binomial(40, 1/2); scipy says it. The other way round nothing is lost."""
    worse = judged([GOOD] * 10 + [BAD] * 30, [BAD] * 10 + [GOOD] * 30, fair)
    test = the_test(worse)
    assert test.p_value == pytest.approx(binomtest(30, 40, 0.5, alternative="greater").pvalue)
    assert "win rate 0.250" in test.told
    assert "10 wins, 30 losses" in test.told
    assert "beside accuracy 1.000 → 1.000" in test.told
    assert outcomes(worse) == ["PASS"]
    better = judged([BAD] * 10 + [GOOD] * 30, [GOOD] * 10 + [BAD] * 30, fair)
    assert the_test(better).p_value > 0.99


@pytest.mark.capability("EV-58")
def test_the_gate_blocks_on_a_healthy_judges_regression_and_names_the_lost_items() -> None:
    mine, other = results([BAD] * 100 + [GOOD] * 20, model="new"), results([GOOD] * 120, model="old")
    result = judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)
    sides = {"finance": mine}, {"finance": other}
    decision = gate(*sides, GateConfig(), [JudgeEvidence(result=result)])
    assert decision.outcome == "BLOCK"
    blocked = [check for check in decision.checks if check.outcome == "BLOCK"]
    assert [check.name for check in blocked] == ["judge of finance: the baseline is preferred"]
    assert blocked[0].numbers["items"][:2] == ["i000", "i001"]
    assert gate(*sides, GateConfig()).outcome == "PASS"  # accuracy alone sees nothing


def test_a_win_rate_without_accuracy_beside_it_decides_nothing() -> None:
    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")
    bare = [
        replace(side, items=tuple(replace(i, samples=(replace(i.samples[0], measures={}),)) for i in side.items))
        for side in (mine, other)
    ]
    result = judge_suite(*bare, judge_of(fair), anchors=ANCHORS)
    assert outcomes(result) == ["INSUFFICIENT"]
    assert "a win rate is not read alone" in JudgeEvidence(result=result).problems[0]


def test_items_of_one_cluster_are_one_piece_of_evidence() -> None:
    """40 losses in 4 clusters: four signs, all one way, have a one-sided chance of 1/16."""
    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")
    mine = replace(mine, items=tuple(replace(one, cluster=f"c{n % 4}") for n, one in enumerate(mine.items)))
    assert the_test(judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)).p_value == pytest.approx(1 / 16)


# ---------------------------------------------------------------------------------------------- judges not borne out


@pytest.mark.capability("EV-58")
def test_a_judge_that_likes_length_is_shown_to_and_people_do_not_bear_it_out() -> None:
    """The longer answer is the bad one in the anchors: it agrees with people on none of the 40."""
    candidate = ["good"] * 20 + ["bad, with many words"] * 20
    baseline = ["bad, with many words"] * 20 + ["good"] * 20
    result = judged(candidate, baseline, longer)
    effect = result.length_effect
    assert effect is not None
    assert (effect.num_decided, effect.longer_preferred) == (40, 1.0)
    assert (effect.win_rate_longer, effect.win_rate_shorter, effect.balanced_win_rate) == (1.0, 0.0, 0.5)
    assert effect.interval.low == pytest.approx(40 / (40 + 1.959964**2), abs=1e-6)  # Wilson of 40 of 40
    assert outcomes(result) == ["INSUFFICIENT"]
    assert "agrees with people on 0%" in JudgeEvidence(result=result).problems[0]
    honest = judged(candidate, baseline, fair).length_effect
    assert honest is not None
    assert honest.longer_preferred == 0.0


@pytest.mark.capability("EV-46")
@pytest.mark.parametrize("says", [liar, first_of_all])
@pytest.mark.parametrize("candidate", [GOOD, BAD])
def test_a_judge_that_people_do_not_bear_out_neither_blocks_nor_passes(
    says: Callable[[str, str], str], candidate: str
) -> None:
    other = BAD if candidate == GOOD else GOOD
    result = judged([candidate] * 120, [other] * 120, says, dimensions=("helpfulness", "truthfulness"))
    findings = JudgeEvidence(result=result).findings()
    assert [(one.name, one.outcome) for one in findings] == [  # type: ignore[union-attr]
        ("dimension helpfulness: judge of finance", "INSUFFICIENT"),
        ("dimension truthfulness: judge of finance", "INSUFFICIENT"),
    ]
    mine, before = results([candidate] * 120, model="new"), results([other] * 120, model="old")
    decision = gate({"finance": mine}, {"finance": before}, GateConfig(), [JudgeEvidence(result=result)])
    assert (decision.outcome, decision.exit_code) == ("INSUFFICIENT", 3)


@pytest.mark.capability("EV-46")
def test_a_judge_that_drifts_under_the_same_name_decides_nothing_though_its_agreement_is_still_allowed() -> None:
    """After people examined it, it turns 8 of 40 anchors round: agreement 80 % as asked for, p = 1/2^8."""
    mind = Mind(fair)
    judge = judge_of(mind)
    before = measure_anchors(judge, ANCHORS)
    assert before.agreement == 1.0
    turned = {f"good {n}" for n in range(8)}

    def drifted(first: str, second: str) -> str:
        return liar(first, second) if {first, second} & turned else fair(first, second)

    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")
    healthy = judge_suite(mine, other, judge, anchors=ANCHORS, before=before)
    assert outcomes(healthy) == ["PASS"]
    mind.says = drifted
    result = judge_suite(mine, other, judge, anchors=ANCHORS, before=before)
    assert result.judge == before.judge
    assert outcomes(result) == ["INSUFFICIENT"]
    (problem,) = JudgeEvidence(result=result).problems
    assert problem == (
        "the judge has drifted: its agreement with people fell from 100% to 80% of 40 anchors (p = 0.0039), "
        "under the same name"
    )


@pytest.mark.capability("EV-46")
def test_another_judge_another_criterion_other_labels_and_too_few_anchors_decide_nothing() -> None:
    judge = judge_of(fair)
    before = measure_anchors(judge, ANCHORS)
    mine, other = results([BAD] * 40, model="new"), results([GOOD] * 40, model="old")

    def problems(judge: PairwiseJudge, anchors: Sequence[Anchor], **more: Any) -> str:
        found = judge_suite(mine, other, judge, anchors=anchors, before=before, **more)
        assert outcomes(found) == ["INSUFFICIENT"]
        return " | ".join(JudgeEvidence(result=found).problems)

    assert "people examined another judge or rubric" in problems(replace(judge, criterion="it is polite"), ANCHORS)
    renamed = replace(judge, judge=replace(judge.judge, model="another"))
    assert "people examined another judge or rubric" in problems(renamed, ANCHORS)
    assert "the anchors are not those that it was examined on" in problems(judge, ANCHORS[:36])
    assert "29 anchors with people's labels; at least 30 are asked for" in problems(judge, ANCHORS[:29])
    assert "0 anchors" in problems(judge, ())
    one_label = [one for one in ANCHORS if one.label] * 2
    assert "40 anchors of one label only" in problems(judge, one_label)


def test_on_anchors_of_nearly_one_label_agreement_is_not_enough() -> None:
    """A judge that always prefers the other answer agrees on 36 of 40, and its kappa is 0."""
    bad = [one for one in ANCHORS if not one.label]
    anchors = [*bad, *(replace(one, task=replace(one.task, id=f"{one.task.id}x")) for one in bad[:16])]
    anchors += [one for one in ANCHORS if one.label][:4]
    better = {one.text for one in anchors if one.label}

    def never(first: str, second: str) -> str:
        return liar(first, second) if {first, second} & better else fair(first, second)

    result = judged([GOOD] * 40, [BAD] * 40, never, anchors=anchors)
    assert "agrees with people on 90%" in JudgeEvidence(result=result).problems[0]
    assert "hardly more than chance" in JudgeEvidence(result=result).problems[0]


@pytest.mark.capability("EV-58")
@pytest.mark.parametrize("neither", ["TIE", "FIRST"])
def test_who_prefers_neither_answer_where_people_preferred_one_does_not_agree_with_them(neither: str) -> None:
    """Of 40 anchors it ties, or contradicts itself on, 16: it bears out people's order on 24, which is 60 %."""

    def shy(first: str, second: str) -> str:
        return neither if int(re.findall(r"\d+", first)[0]) < 16 else fair(first, second)

    report = measure_anchors(judge_of(shy), ANCHORS)
    assert (report.agreement, report.num_undecided) == (0.6, 16)
    result = judged([GOOD] * 40, [BAD] * 40, lambda a, b: shy(a, b) if {a, b} - {GOOD, BAD} else fair(a, b))
    assert outcomes(result) == ["INSUFFICIENT"]
    assert "agrees with people on 60%" in JudgeEvidence(result=result).problems[0]


def test_what_the_judge_was_never_asked_says_nothing_of_its_taste_for_length() -> None:
    """Twenty empty answers lose unasked to longer ones; the judge itself, asked ten times, prefers the shorter."""
    result = judged([""] * 20 + ["good"] * 10, [BAD] * 20 + ["bad, with many words"] * 10, fair)
    effect = result.length_effect
    assert effect is not None
    assert (effect.num_decided, effect.longer_preferred) == (10, 0.0)
    assert (effect.win_rate_longer, effect.win_rate_shorter) == (None, 1.0)
    assert judged([""] * 3, [GOOD] * 3, fair).length_effect is None


# ------------------------------------------------------------------------------------------- what cannot be judged


@dataclass
class Failing(ScriptedSampler):
    """A server that fails at every prompt with the word."""

    word: str = "question 3"

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        found = super().sample(prompts, params, seeds=seeds)
        texts = ["".join(map(chr, prompt)) for prompt in prompts]
        failures = {i: "503" for i, text in enumerate(texts) if self.word and self.word in text}
        if failures:
            kept = [None if i in failures else one for i, one in enumerate(found)]
            raise RemoteError("the server failed", completions=kept, failures=failures)
        return found


def test_what_a_server_fails_at_is_ungraded_and_asked_again_and_what_is_kept_is_not(tmp_path: Path) -> None:
    judge = judge_of(fair)
    server = Failing(answer=Mind(fair))
    judge = replace(judge, judge=replace(judge.judge, sampler=server))
    mine, other = results([GOOD] * 20, model="new"), results([BAD] * 20, model="old")
    result = judge_suite(mine, other, judge, anchors=ANCHORS, folder=tmp_path)
    rate = result.win_rate()
    assert (rate.wins, rate.ungraded, rate.value) == (19, 1, 1.0)
    assert (result.items[3].state, result.items[3].outcome) == ("infrastructure", None)
    assert outcomes(result) == ["PASS"]  # 1 of 20 is 5 %, which is allowed
    server.asked.clear()
    server.word = ""
    again = judge_suite(mine, other, judge, anchors=ANCHORS, folder=tmp_path)
    assert again.win_rate().wins == 20
    assert len([text for text in server.asked if "question" in text.partition("<<<FIRST")[0]]) == 2


def test_a_server_that_is_gone_decides_nothing() -> None:
    judge = judge_of(fair)
    judge = replace(judge, judge=replace(judge.judge, sampler=Failing(answer=Mind(fair), word="TASK")))
    mine, other = results([GOOD] * 40, model="new"), results([BAD] * 40, model="old")
    result = judge_suite(mine, other, judge, anchors=ANCHORS)
    assert (result.win_rate().value, result.win_rate().ungraded) == (None, 40)
    assert outcomes(result) == ["INSUFFICIENT"]
    problems = JudgeEvidence(result=result).problems
    assert "40 of 40 items could not be judged" in problems
    assert "agrees with people on 0% [0%, 9%] of 40 anchors (kappa undefined, 40 without a verdict)" in problems[0]


def test_cut_and_empty_answers_lose_unasked_and_two_of_them_decide_nothing() -> None:
    mine = results([GOOD, "", GOOD, ""], model="new")
    other = results([BAD, GOOD, " ", " "], model="old")
    cut = replace(mine.items[0], samples=(replace(mine.items[0].samples[0], finish_reason="length"),))
    mine = replace(mine, items=(cut, *mine.items[1:]))
    result = judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)
    assert [item.outcome for item in result.items] == ["loss", "loss", "win", None]
    assert result.items[0].reason == "the candidate's answer is cut off or empty"
    assert result.items[3].state == "unasked"
    assert result.position_bias is None  # nothing was asked


# ----------------------------------------------------------------------------------------------------- kept and bound


def test_a_judgement_that_was_killed_goes_on_and_comes_out_the_same(tmp_path: Path) -> None:
    mine, other = results([GOOD] * 15 + [BAD] * 15, model="new"), results([BAD] * 30, model="old")

    @dataclass
    class Dying(ScriptedSampler):
        calls_left: int = 2

        def sample(self, *arguments: Any, **more: Any) -> list[Completion]:
            if self.calls_left == 0:
                raise KeyboardInterrupt
            self.calls_left -= 1
            return super().sample(*arguments, **more)

    judge = judge_of(fair)
    dying = replace(judge, judge=replace(judge.judge, sampler=Dying(answer=Mind(fair))))
    with pytest.raises(KeyboardInterrupt):
        judge_suite(mine, other, dying, anchors=ANCHORS, folder=tmp_path, num_items=8)
    (partial,) = tmp_path.iterdir()
    partial.write_bytes(partial.read_bytes() + b'{"id": "i01')  # torn
    sampler = ScriptedSampler(answer=Mind(fair))
    again = replace(judge, judge=replace(judge.judge, sampler=sampler))
    result = judge_suite(mine, other, again, anchors=ANCHORS, folder=tmp_path, num_items=8)
    asked = [text for text in sampler.asked if "question" in text]
    assert len({text.partition("<<<FIRST")[0].partition("<<<TASK")[2] for text in asked}) <= 14
    whole = judge_suite(mine, other, judge, anchors=ANCHORS)
    assert result.digest == whole.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judgement_finance.json", "judgements_finance.jsonl"]


def test_a_judgement_is_read_back_whole_and_refused_when_it_was_edited(tmp_path: Path) -> None:
    result = judged([GOOD] * 10 + [BAD] * 30, [BAD] * 10 + [GOOD] * 30, fair)
    result.save(tmp_path)
    assert JudgeResult.load(tmp_path, "finance") == result
    rows = tmp_path / "judgements_finance.jsonl"
    rows.write_text(rows.read_text().replace('"outcome": "loss"', '"outcome": "win"'))
    with pytest.raises(MismatchError, match="cannot use the judgement"):
        JudgeResult.load(tmp_path, "finance")
    result.save(tmp_path)
    path = tmp_path / "judgement_finance.json"
    content = json.loads(path.read_text())
    content["standing"]["limits"]["min_agreement"] = 0.1
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="its content does not match its digest"):
        JudgeResult.load(tmp_path, "finance")


@pytest.mark.parametrize(
    ("key", "value"), [("criterion", "it is polite"), ("model", "another"), ("numbers", {"win_rate": 1.0})]
)
def test_words_and_numbers_of_a_judgement_that_were_edited_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    judged([GOOD] * 10, [BAD] * 10, fair).save(tmp_path)
    path = tmp_path / "judgement_finance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(MismatchError, match="its content does not match its digest"):
        JudgeResult.load(tmp_path, "finance")


def test_clusters_and_lengths_are_part_of_what_a_judgement_is() -> None:
    result = judged([GOOD] * 4, [BAD] * 4, fair)
    for changed in ({"cluster": "one"}, {"num_chars": 7}, {"slices": {}}):
        other = replace(result, items=tuple(replace(item, **changed) for item in result.items))  # type: ignore[arg-type]
        assert other.digest != result.digest


def test_a_line_that_was_torn_within_a_character_does_not_stop_what_goes_on(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "s", "key")
    kept.append([JudgedItem(id="größe 1", outcome="win")])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + '{"id": "grö'.encode()[:-1])
    for number in (2, 3):
        kept.append([JudgedItem(id=f"größe {number}", outcome="win")])
    assert [item.id for item in kept.read()] == ["größe 1", "größe 2", "größe 3"]


def test_evidence_is_about_one_candidate(tmp_path: Path) -> None:
    mine, other = results([GOOD] * 40, model="new"), results([BAD] * 40, model="old")
    result = judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)
    write_judge_evidence(tmp_path, [result])
    found = read_evidence(tmp_path, {"finance": mine})
    assert found.findings() == JudgeEvidence(result=result).findings()
    with pytest.raises(MismatchError, match="about another candidate"):
        read_evidence(tmp_path, {"finance": other})


def test_results_of_other_items_or_tasks_are_refused() -> None:
    with pytest.raises(MismatchError, match="on one side only"):
        judged([GOOD] * 3, [GOOD] * 2, fair)
    other_task = Task(id="i000", prompt=(Message(role="user", content="something else"),))
    with pytest.raises(MismatchError, match="is not what was asked"):
        judged([GOOD], [BAD], fair, tasks=[other_task])


def test_peoples_order_of_two_answers_becomes_one_anchor_of_a_pair_with_both_labels_in_turn() -> None:
    tasks = [Task(id=f"t{n}", prompt=(Message(role="user", content="?"),)) for n in range(4)]
    singles = [
        Anchor(task=task, text=text, label=label) for task in tasks for text, label in ((GOOD, True), (BAD, False))
    ]
    paired = pair_anchors(singles)
    assert [(one.text, one.task.reference["answer"], one.label) for one in paired] == [
        (GOOD, BAD, True),
        (BAD, GOOD, False),
    ] * 2
    assert measure_anchors(judge_of(fair), paired).agreement == 1.0
    assert pair_anchors(paired) == paired


def test_answers_to_one_prompt_are_a_pair_by_hand_and_to_two_prompts_of_one_id_they_are_none(tmp_path: Path) -> None:
    rows = [{"prompt": "?", "text": GOOD, "label": True}, {"prompt": "?", "text": BAD, "label": False}]
    path = tmp_path / "anchors.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(one.text, one.task.reference) for one in pair_anchors(read_anchors(path))] == [(GOOD, {"answer": BAD})]
    path.write_text("".join(json.dumps({**row, "prompt": f"{n}?", "id": "i"}) + "\n" for n, row in enumerate(rows)))
    assert pair_anchors(read_anchors(path)) == ()


def test_anchors_are_the_same_wherever_their_file_lies(tmp_path: Path) -> None:
    text = "".join(
        json.dumps({"prompt": f"{n}?", "text": GOOD, "label": n == 0, "reference": {"answer": BAD}}) + "\n"
        for n in range(2)
    )
    reports = []
    for name in ("here.jsonl", "there.jsonl"):
        (tmp_path / name).write_text(text if name == "here.jsonl" else f"\n{text}")
        reports.append(measure_anchors(judge_of(fair), read_anchors(tmp_path / name)))
    assert reports[0] == reports[1]
