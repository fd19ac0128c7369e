"""A judge is held against people, and stopped when it leaves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from scripted_judge import judge_model, material_of, nonce_of
from strop.errors import MismatchError, VerifierError
from strop.types import Completion, Message, Task
from strop.verifiers import judge_all
from strop.verifiers.anchors import Anchor, AnchoredJudge, AnchorReport, drift_p_value, measure_anchors
from strop.verifiers.judge import Criterion, JudgeVerifier, Rubric

RUBRIC = Rubric(criteria=(Criterion(name="right", text="Is it right?"),), low=0, high=1)


def task(number: int) -> Task:
    return Task(id=f"t{number}", prompt=(Message(role="user", content=f"Is {number} even?"),))


ANCHORS = tuple(
    Anchor(task=task(n), text=word, label=(n % 2 == 0) == (word == "yes")) for n in range(10) for word in ("yes", "no")
)


@dataclass
class Mind:
    """What the model behind the judge does, which its digest does not tell."""

    share_wrong: int = 0
    unreadable: bool = False
    asked: list[str] = field(default_factory=list)

    def __call__(self, asked: str) -> str:
        material = material_of(asked)
        self.asked.append(material["ANSWER"])
        number = int("".join(filter(str.isdigit, material["TASK"])))
        right = (number % 2 == 0) == (material["ANSWER"] == "yes")
        wrong = number < self.share_wrong
        return "no idea" if self.unreadable and wrong else f"VERDICT {nonce_of(asked)} right: {int(right != wrong)}"


def judge(mind: Callable[[str], str]) -> JudgeVerifier:
    return JudgeVerifier(judge=judge_model(mind), rubric=RUBRIC)


def pair(number: int, word: str) -> tuple[Task, Completion]:
    return task(number), Completion(token_ids=(), sampler_logprobs=(), text=word, finish_reason="stop")


@pytest.mark.capability("EV-58")
def test_agreement_with_people_is_reported_with_its_interval_and_beyond_chance() -> None:
    report = measure_anchors(judge(Mind(share_wrong=3)), ANCHORS)
    assert (report.agreement, report.num_undecided) == (14 / 20, 0)
    # Wilson by hand for 14 of 20; kappa by hand: half of either label on both sides, so chance agrees on 1/2
    z2 = 1.959964**2
    half = 1.959964 * (20 * 0.7 * 0.3 + z2 / 4) ** 0.5
    assert report.interval.low == pytest.approx((14 + z2 / 2 - half) / (20 + z2), abs=1e-6)
    assert report.kappa.kappa == pytest.approx((0.7 - 0.5) / 0.5)


def test_an_anchor_without_a_verdict_is_no_agreement() -> None:
    report = measure_anchors(judge(Mind(share_wrong=3, unreadable=True)), ANCHORS)
    assert (report.agreement, report.num_undecided) == (14 / 20, 6)
    assert report.kappa.kappa == 1.0


@pytest.mark.capability("EV-46")
def test_a_judge_that_drifts_decides_nothing_until_it_is_back() -> None:
    mind = Mind()
    anchored = AnchoredJudge(judge=judge(mind), anchors=ANCHORS)
    asked = [pair(20, "yes"), pair(21, "yes")]
    assert [verdict.score for verdict in judge_all(anchored, asked)] == [1.0, 0.0]
    assert len(mind.asked) == 22
    mind.share_wrong = 3
    drifted = judge_all(anchored, asked)
    assert [(verdict.state, verdict.score, verdict.passed) for verdict in drifted] == [
        ("infrastructure", None, False)
    ] * 2
    assert drifted[0].reasons == ("undecided: judge agrees with people on 70% of 20 anchors, less than 80%",)
    mind.share_wrong = 2
    assert [verdict.score for verdict in judge_all(anchored, asked)] == [1.0, 0.0]


@pytest.mark.capability("EV-46")
def test_a_fall_against_an_earlier_report_is_a_drift_though_the_agreement_is_still_high() -> None:
    mind = Mind()
    verifier = judge(mind)
    before = measure_anchors(verifier, ANCHORS)
    anchored = AnchoredJudge(judge=verifier, anchors=ANCHORS, min_agreement=0.5, before=before)
    assert anchored(*pair(20, "yes")).passed
    mind.share_wrong = 3  # 6 of 20 changed sides: one-sided exact p = 1/2^6 > 0.01
    assert anchored(*pair(20, "yes")).passed
    mind.share_wrong = 4  # 8 of 20: p = 1/2^8
    found = anchored(*pair(20, "yes"))
    assert found.state == "infrastructure"
    assert "60% of 20 anchors, after 100% before (p = 0.0039)" in found.reasons[0]


def test_the_chance_of_a_drift_by_luck_is_mcnemars_one_sided() -> None:
    labels = (True,) * 10
    before = AnchorReport(judge="j", anchors="a", labels=labels, passed=(True,) * 7 + (False,) * 3)
    now = replace(before, passed=(False,) * 4 + (None,) + (True,) * 5)
    # 5 lost (4 rejected, 1 without a verdict), 3 gained: P(X >= 5) with X ~ B(8, 1/2) = 93/256
    assert drift_p_value(before, now) == pytest.approx(93 / 256)
    assert drift_p_value(before, before) == 1.0
    for other in (replace(now, judge="k"), replace(now, anchors="b")):
        with pytest.raises(MismatchError):
            drift_p_value(before, other)


def test_a_report_is_of_one_judge_one_rubric_and_one_set_of_anchors() -> None:
    verifier = judge(Mind())
    before = measure_anchors(verifier, ANCHORS)
    other_rubric = replace(verifier, rubric=replace(RUBRIC, high=2))
    turned = (replace(ANCHORS[0], label=not ANCHORS[0].label), *ANCHORS[1:])
    for settings in ({"judge": other_rubric}, {"anchors": turned}):
        with pytest.raises(MismatchError, match="not of judge and these anchors"):
            AnchoredJudge(**{"judge": verifier, "anchors": ANCHORS, "before": before, **settings})  # type: ignore[arg-type]
    digests = {
        AnchoredJudge(judge=verifier, anchors=ANCHORS).digest,
        AnchoredJudge(judge=verifier, anchors=ANCHORS, before=before).digest,
        AnchoredJudge(judge=verifier, anchors=turned).digest,
        AnchoredJudge(judge=other_rubric, anchors=ANCHORS).digest,
        AnchoredJudge(judge=verifier, anchors=ANCHORS, min_agreement=0.9).digest,
    }
    assert len(digests) == 5


def test_anchors_of_one_label_measure_nothing() -> None:
    good = [anchor for anchor in ANCHORS if anchor.label]
    for anchors in (good, []):
        with pytest.raises(VerifierError, match="not of both labels"):
            measure_anchors(judge(Mind()), anchors)
